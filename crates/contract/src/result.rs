//! What came of an execution.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    files::{OutputFile, SkippedFile},
    isolation::IsolationReport,
    limits::ResourceLimits,
    start::ProgramStart,
    validation::CodeFinding,
};

/// Identity of one execution: a UUID of version 7, so ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExecutionId(Uuid);

impl ExecutionId {
    /// A new identity.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl FromStr for ExecutionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As in results, so that a log can be searched for it.
        self.0.hyphenated().fmt(formatter)
    }
}

/// Where an execution is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ExecutionStatus {
    /// Accepted, not started.
    Pending,
    /// The program runs.
    Running,
    /// The program ended by itself with exit code 0.
    Completed,
    /// The program ended otherwise, or a limit other than time ended it.
    Failed,
    /// The wall-clock or CPU-time limit ended it.
    TimedOut,
    /// The caller ended it.
    Cancelled,
}

impl ExecutionStatus {
    /// Whether the execution has ended.
    pub const fn is_completed(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// Why an execution ended: the cause of its end, not everything that happened on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TerminationReason {
    /// The main process returned an exit code, without an uncaught exception.
    Exited,
    /// An uncaught Python exception.
    Exception,
    /// The kernel killed it at the memory limit.
    OutOfMemory,
    /// The wall-clock limit.
    WallTimeLimit,
    /// The CPU-time limit.
    CpuTimeLimit,
    /// An uncaught error after the limit of processes and threads refused one.
    ProcessLimit,
    /// An uncaught "no space left" with the writable folders full.
    DiskLimit,
    /// More output than the output limit.
    OutputLimit,
    /// An uncaught "operation not permitted" after a system call that the sandbox refuses.
    SyscallDenied,
    /// A signal that was not ours.
    Signal,
    /// The caller cancelled it.
    Cancelled,
    /// The service stopped while it ran.
    Interrupted,
    /// It waited for its turn until it was too late.
    QueueTimeout,
    /// It was accepted, and could not be started when its turn came.
    NotStarted,
    /// The sandbox itself failed: our fault, not the program's.
    SandboxFailure,
}

/// How an execution ended, in words and numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Termination {
    /// The cause.
    pub reason: TerminationReason,
    /// One sentence for a person or a model.
    pub message: String,
    /// The limit that was met, with its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The highest use of what was limited, with its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<String>,
}

/// An uncaught Python exception, as the program's interpreter described it: text to show, never to trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PythonError {
    /// Name of the exception's class: `ZeroDivisionError`.
    pub name: String,
    /// `str()` of the exception.
    pub value: String,
    /// The traceback as CPython prints it, with the program's own frames.
    pub traceback: String,
    /// Line of the program that raised or called what raised; 1 is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column of a syntax error in that line, in characters; 1 is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// `errno` of an `OSError`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
}

/// Whether output is missing from the middle of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Truncated {
    /// Of stdout.
    pub stdout: bool,
    /// Of stderr.
    pub stderr: bool,
}

/// What an execution used, measured by the kernel for all its processes together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceUsage {
    /// From the start of the program to its end.
    #[serde(rename = "wallTimeMs", with = "fractional_milliseconds")]
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    pub wall_time: Duration,
    /// User and system time.
    #[serde(rename = "cpuTimeMs", with = "fractional_milliseconds")]
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    pub cpu_time: Duration,
    /// Time in the program.
    #[serde(rename = "userTimeMs", with = "fractional_milliseconds")]
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    pub user_time: Duration,
    /// Time in the kernel on the program's behalf.
    #[serde(rename = "systemTimeMs", with = "fractional_milliseconds")]
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    pub system_time: Duration,
    /// Highest memory use. Nothing when the host cannot tell.
    pub peak_memory_bytes: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// Bytes in the writable folders at the end.
    pub disk_bytes: Option<u64>,
    /// Highest number of processes and threads. Nothing when the host cannot tell.
    pub processes_peak: Option<u32>,
    /// Times a process or thread was refused at the limit.
    pub processes_refused: u64,
    /// Bytes written to stdout and stderr, kept or not.
    pub output_bytes: u64,
    /// System calls that the sandbox refused, by name, the last one last; at most 32.
    pub denied_syscalls: Vec<String>,
    /// From the request to the start of the program.
    #[serde(rename = "startupMs", with = "fractional_milliseconds")]
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    pub startup: Duration,
}

/// The result of one execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SandboxExecutionResult {
    /// Which execution.
    pub execution_id: ExecutionId,
    /// Where it is; always a final one here.
    pub status: ExecutionStatus,
    /// Whether it has ended.
    pub is_completed: bool,
    /// Exit code of the main process; 128 + n after signal n; nothing when it never ran.
    pub exit_code: Option<i32>,
    /// Standard output, decoded as UTF-8; what is no UTF-8 is replaced by U+FFFD.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Whether the middle of a stream is missing.
    pub truncated: Truncated,
    /// The uncaught exception, if one ended the program.
    pub error: Option<PythonError>,
    /// Why it ended.
    pub termination: Termination,
    /// What to do about it, for a person or a model.
    pub hints: Vec<String>,
    /// What looked dangerous before it ran.
    pub warnings: Vec<CodeFinding>,
    /// What it used.
    pub usage: ResourceUsage,
    /// The limits that were in force.
    pub limits: ResourceLimits,
    /// What stood between it and the host; nothing when it never ran.
    pub isolation: Option<IsolationReport>,
    /// How its interpreter was started; nothing when it never ran.
    pub start: Option<ProgramStart>,
    /// New and changed files in `/work`, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<OutputFile>,
    /// What was there and was not taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped_files: Vec<SkippedFile>,
    /// The Python environment it ran in: name, version and key.
    pub environment: String,
    /// When it was asked for.
    pub queued_at: jiff::Timestamp,
    /// When the program started; nothing when it never did.
    pub started_at: Option<jiff::Timestamp>,
    /// When it had ended and was cleaned up.
    pub finished_at: jiff::Timestamp,
}

impl SandboxExecutionResult {
    /// Of an execution that ended just now, and of which nothing ran.
    pub fn not_run(
        execution_id: ExecutionId,
        limits: ResourceLimits,
        environment: String,
        queued_at: jiff::Timestamp,
        (status, termination): (ExecutionStatus, Termination),
    ) -> Self {
        Self {
            execution_id,
            status,
            is_completed: status.is_completed(),
            exit_code: None,
            stdout: String::new(),
            stderr: String::new(),
            truncated: Truncated::default(),
            termination,
            error: None,
            hints: Vec::new(),
            warnings: Vec::new(),
            usage: ResourceUsage::default(),
            limits,
            isolation: None,
            start: None,
            files: Vec::new(),
            skipped_files: Vec::new(),
            environment,
            queued_at,
            started_at: None,
            finished_at: crate::now(),
        }
    }
}

pub(crate) mod fractional_milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        let microseconds = u32::try_from(duration.as_micros()).map_or(f64::from(u32::MAX), f64::from);
        // Past an hour nobody asks for microseconds; an f64 of whole milliseconds stays exact.
        if duration.as_secs() < 3600 {
            serializer.serialize_f64(microseconds / 1000.0)
        } else {
            serializer.serialize_f64(duration.as_secs_f64() * 1000.0)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let milliseconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(milliseconds / 1000.0).map_err(serde::de::Error::custom)
    }
}
