//! What a backend must offer to the service.
//!
//! A backend turns an [`ExecutionPlan`] into a running sandbox and tells what happens to it. It decides nothing:
//! deadline, output, usage and verdict are the monitor's. Any backend, with any warm pool behind it, fits behind
//! these two traits; the monitor cannot tell a program that was started cold from one that was forked from a zygote.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    environment::PythonEnvironment,
    error::SandboxError,
    files::{CollectedFiles, FileLimits, InputFile},
    imports::ImportPolicy,
    isolation::IsolationReport,
    limits::ResourceLimits,
    result::{ExecutionId, ResourceUsage},
    start::{ProgramStart, WarmReport, ZygoteMode},
};

/// One execution, decided in every detail; data only.
#[derive(Clone, Debug)]
pub struct ExecutionPlan {
    /// Which execution.
    pub id: ExecutionId,
    /// Python source of `__main__`.
    pub code: Vec<u8>,
    /// `sys.argv[1:]`.
    pub args: Vec<String>,
    /// Environment variables that the caller asks for, beside the sandbox's own.
    pub env: BTreeMap<String, String>,
    /// What to enforce.
    pub limits: ResourceLimits,
    /// Whether the caller named `disk_limit`, rather than taking the default: a backend may lower a default that it
    /// cannot give, and reports it; a limit that was asked for is given or refused.
    pub disk_limit_is_default: bool,
    /// The Python to run it with.
    pub environment: PythonEnvironment,
    /// What the program may import, checked once more while it runs; nothing where imports are not restricted.
    pub import_policy: Option<Arc<ImportPolicy>>,
    /// The modules that it imports, as far as that can be read: what a warm interpreter should have.
    pub imports: Vec<String>,
    /// Whether the interpreter may come from a zygote.
    pub zygote: ZygoteMode,
    /// Files that are in `/work` before the program starts. Their paths are relative, without `.` and `..`, and none is
    /// another one's folder.
    pub files: Vec<InputFile>,
    /// How much is taken of the files that the program leaves; nothing where they are not looked at.
    pub output_files: Option<FileLimits>,
}

/// How the main process of a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramEnd {
    /// With an exit code.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
}

/// What a backend reports of a running sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SandboxEvent {
    /// The program has started: the clock runs.
    Started,
    /// The main process has ended; everything else of the execution is being killed.
    MainEnded(ProgramEnd),
    /// The kernel ran out of the execution's memory and killed a process of it; the monitor ends the rest.
    OutOfMemory,
    /// A system call was refused that has no place in a sandbox.
    SyscallDenied(String),
    /// Every process of the execution is dead. Always the last event.
    Gone,
}

/// The program's ends of its streams. All reads end at the latest when the sandbox is gone.
#[expect(missing_debug_implementations, reason = "streams of unnamed types")]
pub struct SandboxPipes {
    /// Writes to the program's stdin; dropping it is end of file.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// The program's stdout.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// The program's stderr.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// What the program tells of its progress, and the interpreter of an uncaught exception: lines. Hostile: it refines
    /// a message and decides nothing.
    pub report: Box<dyn AsyncRead + Send + Unpin>,
}

/// One execution inside a backend. Dropping it kills and removes whatever is left of it.
#[async_trait::async_trait]
pub trait RunningSandbox: Send {
    /// The streams; they can be taken once.
    fn take_pipes(&mut self) -> Option<SandboxPipes>;

    /// The limits that are in force, where they differ from the plan's.
    fn effective_limits(&self) -> &ResourceLimits;

    /// What stands between the program and the host.
    fn isolation(&self) -> &IsolationReport;

    /// How its interpreter was started.
    fn program_start(&self) -> ProgramStart;

    /// Waits for the next event. Cancel-safe.
    ///
    /// # Errors
    /// The sandbox itself failed; the program did not run, or its end is not known.
    async fn next_event(&mut self) -> Result<SandboxEvent, SandboxError>;

    /// CPU time used so far, for the CPU-time limit; nothing when the host cannot tell.
    fn cpu_time(&mut self) -> Option<Duration>;

    /// Memory used now, in bytes; nothing when the host cannot tell.
    fn memory(&mut self) -> Option<u64> {
        None
    }

    /// Kills every process of the execution at once. [`SandboxEvent::Gone`] follows.
    fn kill(&mut self);

    /// What was used. Called once, after [`SandboxEvent::Gone`].
    fn usage(&mut self) -> ResourceUsage;

    /// Whether the writable folders were full, in bytes or in inodes, when the main process ended.
    fn disk_was_full(&self) -> bool;

    /// Takes the files that the program left in `/work`, as far as the plan's `output_files` goes. Whatever is there, it
    /// does not hang and does not leave `/work`. Called once at most, after [`SandboxEvent::Gone`].
    async fn collect_files(&mut self) -> CollectedFiles {
        CollectedFiles::default()
    }

    /// Removes everything of the execution from the host. Called after [`SandboxEvent::Gone`].
    ///
    /// # Errors
    /// Something could not be removed.
    async fn remove(self: Box<Self>) -> Result<(), SandboxError>;
}

/// A way to run sandboxes.
#[async_trait::async_trait]
pub trait SandboxBackend: Send + Sync {
    /// Starts one execution.
    ///
    /// # Errors
    /// The plan cannot be given as it is (a layer or a limit that the host lacks), or the sandbox could not be made.
    async fn launch(&self, plan: &ExecutionPlan) -> Result<Box<dyn RunningSandbox>, SandboxError>;

    /// Tries every layer without running a program, and says what it can enforce.
    ///
    /// # Errors
    /// No sandbox of any tier can be made.
    async fn probe(&self) -> Result<IsolationReport, SandboxError>;

    /// Makes what would otherwise be made after the first program of `environment` came: warm interpreters. Returns when
    /// they are there, or have failed; what failed is tried again by itself, and reported where it is noticed. A caller
    /// that stops waiting drops this future in the middle.
    async fn warm_up(&self, _environment: &PythonEnvironment, _import_policy: Option<Arc<ImportPolicy>>) {}

    /// The warm interpreters as they are now.
    fn warm_report(&self) -> WarmReport {
        WarmReport::default()
    }

    /// Ends everything that this backend still runs and removes what it made.
    async fn shutdown(&self);
}
