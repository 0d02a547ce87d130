//! `aevatar-sandbox run`.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use aevatar_sandbox::{
    ByteQuantity, Caller, CancellationToken, CpuQuantity, ExecuteOptions, ExecutionOutcome, ExecutionStatus,
    ExecutionStreams, OutputFiles, Progress, PythonSandboxService, SandboxExecutionRequest, SandboxExecutionResult,
    SandboxResources, ServiceOptions, TerminalProgress, TerminationReason, ZygoteMode,
    configuration::ConfigurationOverride, local_service_in,
};
use anyhow::Context;
use clap::{Args, ValueEnum};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{
    FAILURE, Isolation, PythonArgument, configured,
    errors::{self, CANCELLED, INTERRUPTED},
    files::{self, OutputFolder},
    program,
    progress::TerminalBar,
};

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The program: a file, or `-` for stdin. With `-c`, the program's first argument instead
    #[arg(value_name = "FILE", required_unless_present = "code")]
    file: Option<String>,

    /// The program's arguments
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,

    /// The program itself
    #[arg(short, long = "code", value_name = "CODE")]
    code: Option<String>,

    /// CPU share: 100m is a tenth of a CPU [default: 1]
    #[arg(long, value_name = "QUANTITY")]
    cpu: Option<CpuQuantity>,

    /// Memory of all processes together [default: 512Mi]
    #[arg(long, value_name = "QUANTITY")]
    memory: Option<ByteQuantity>,

    /// Everything writable together [default: 1Gi; without root half the memory]
    #[arg(long, value_name = "QUANTITY")]
    disk: Option<ByteQuantity>,

    /// Seconds from the start of the program to its end [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,

    /// CPU seconds of all processes together [default: none]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    cpu_time: Option<Duration>,

    /// Processes and threads together [default: 64]
    #[arg(long, value_name = "NUMBER")]
    processes: Option<u32>,

    /// Python environment, as made by `env prepare --name`
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,

    /// A file for the program: `/work` has it by its name, or by PATH. May be given more than once
    #[arg(long = "input", value_name = "FILE[:PATH]")]
    inputs: Vec<String>,

    /// Where the files go that the program leaves in /work; made if need be. Files of the same name are replaced
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,

    /// Print the result as JSON, and nothing else
    #[arg(long)]
    json: bool,

    /// How much isolation to insist on [default: default]
    #[arg(long, value_enum, env = "AEVATAR_SANDBOX_ISOLATION")]
    isolation: Option<Isolation>,

    /// Whether imports are restricted [default: enforce]
    #[arg(long, value_enum, value_name = "MODE")]
    import_policy: Option<ImportPolicyArgument>,

    /// Configuration: the section `PythonSandbox` of a JSON file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    python: PythonArgument,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ImportPolicyArgument {
    /// Only the standard library and allowed packages
    Enforce,
    /// Whatever is installed
    Off,
}

impl RunArguments {
    fn overrides(&self) -> Vec<ConfigurationOverride> {
        let mut overrides = Vec::new();
        overrides.extend(self.isolation.map(configured::isolation));
        overrides.extend(self.import_policy.map(|policy| {
            let word = match policy {
                ImportPolicyArgument::Enforce => "Enforce",
                ImportPolicyArgument::Off => "Off",
            };
            ConfigurationOverride::new("ImportPolicy", word.to_owned(), "--import-policy")
        }));
        overrides.extend(self.python.python.iter().map(|python| configured::python(python)));
        overrides
    }
}

pub(crate) fn run(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    let json = arguments.json;
    run_program(arguments).inspect_err(|error| {
        if json {
            errors::print_json(error);
        }
    })
}

fn run_program(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    let reads_code_from_stdin = arguments.code.is_none() && arguments.file.as_deref() == Some("-");
    let json = arguments.json;
    let configuration = configured::load(arguments.config.clone(), arguments.overrides())?;
    // Maxima are for strangers' requests; whoever starts this command may give it what they like. And a warm interpreter
    // pays for the programs that come later, of which there are none here.
    let options = ServiceOptions { maxima: None, zygote: ZygoteMode::Off, ..configuration.service_options() };
    let folder = configured::data_folder(&configuration)?;
    let output = arguments.output_dir.as_deref().map(OutputFolder::open).transpose()?;
    let request = request(arguments)?;

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start the runtime")?;
    let outcome = runtime.block_on(async {
        let service = local_service_in(folder, configuration.isolation, options).with_progress(TerminalProgress::new());
        let mut streams = ExecutionStreams {
            stdin: if reads_code_from_stdin { None } else { Some(Box::new(tokio::io::stdin())) },
            stdout: if json { None } else { Some(Box::new(tokio::io::stdout())) },
            stderr: if json { None } else { Some(Box::new(tokio::io::stderr())) },
            progress: None,
        };
        let bar = (!json && io::stderr().is_terminal()).then(|| show_progress(&mut streams));
        let cancelled = CancellationToken::new();
        let stopper = tokio::spawn(stop_on_signal(service.clone(), cancelled.clone()));
        let options = ExecuteOptions { streams, cancelled, idempotency_key: None };
        let result = service.execute_for(&Caller::default(), request, options).await;
        if let Some(bar) = bar {
            bar.finish();
        }
        service.shutdown().await;
        stopper.abort();
        result
    });
    // A read of the terminal in the background cannot be broken off; it must not hold up the end.
    runtime.shutdown_background();
    let ExecutionOutcome { result, files } = outcome?;
    let saved = output.as_ref().map_or(Ok(()), |folder| folder.save(result.execution_id, &files));
    report(&result, output.as_ref().filter(|_| saved.is_ok()), json)?;
    if let Err(error) = saved {
        // Beside the result, which is there all the same.
        drop(writeln!(io::stderr(), "aevatar-sandbox: {error:#}"));
        return Ok(ExitCode::from(FAILURE));
    }
    Ok(exit_code(&result))
}

/// Shows what the program tells of its progress below its output. Bars that it draws itself are in its output.
fn show_progress(streams: &mut ExecutionStreams) -> TerminalBar {
    let bar = TerminalBar::new();
    // Elsewhere than on the terminal it is in nobody's way.
    if io::stdout().is_terminal() {
        streams.stdout = Some(Box::new(bar.above(tokio::io::stdout())));
    }
    streams.stderr = Some(Box::new(bar.above(tokio::io::stderr())));
    let (sender, receiver) = watch::channel(Progress::default());
    streams.progress = Some(sender);
    tokio::spawn(bar.clone().show(receiver));
    bar
}

/// Ctrl-C cancels; SIGTERM and a closed terminal interrupt. Either way the execution is killed and cleaned up, and its
/// result is reported.
async fn stop_on_signal(service: PythonSandboxService, cancelled: CancellationToken) {
    let listen = |kind| signal(kind).ok();
    let (interrupt, terminate, hang_up) =
        (listen(SignalKind::interrupt()), listen(SignalKind::terminate()), listen(SignalKind::hangup()));
    let (Some(mut interrupt), Some(mut terminate), Some(mut hang_up)) = (interrupt, terminate, hang_up) else { return };
    tokio::select! {
        _ = interrupt.recv() => cancelled.cancel(),
        _ = terminate.recv() => service.interrupt(),
        _ = hang_up.recv() => service.interrupt(),
    }
}

fn request(arguments: RunArguments) -> anyhow::Result<SandboxExecutionRequest> {
    let wants_files = arguments.json || arguments.output_dir.is_some();
    let files = arguments.inputs.iter().map(|input| files::read_input(input)).collect::<anyhow::Result<_>>()?;
    let mut args = arguments.args;
    let code = match (arguments.code, arguments.file) {
        (Some(code), first) => {
            args.splice(0..0, first);
            code.into_bytes()
        }
        (None, Some(file)) => program::read(&file)?,
        (None, None) => Vec::new(),
    };
    Ok(SandboxExecutionRequest {
        code,
        args,
        timeout: arguments.timeout,
        resources: SandboxResources {
            cpu_limit: arguments.cpu,
            memory_limit: arguments.memory,
            disk_limit: arguments.disk,
            process_limit: arguments.processes,
            cpu_time: arguments.cpu_time,
        },
        environment: arguments.environment,
        files,
        output_files: if wants_files { OutputFiles::List } else { OutputFiles::None },
        ..SandboxExecutionRequest::default()
    })
}

fn report(result: &SandboxExecutionResult, saved: Option<&OutputFolder>, json: bool) -> anyhow::Result<()> {
    if json {
        let mut text = serde_json::to_vec(result).context("could not write the result as JSON")?;
        text.push(b'\n');
        // Whoever closed our stdout does not want it.
        drop(io::stdout().write_all(&text));
    } else {
        let mut text = saved.map_or_else(String::new, |folder| folder.told(result));
        if result.status != ExecutionStatus::Completed {
            text.push_str(&verdict_line(result));
        }
        for hint in &result.hints {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "hint: {hint}");
        }
        drop(io::stderr().write_all(text.as_bytes()));
    }
    Ok(())
}

/// What happened and what it took, in one line.
fn verdict_line(result: &SandboxExecutionResult) -> String {
    let usage = &result.usage;
    let memory = usage.peak_memory_bytes.map_or_else(String::new, |bytes| format!(", memory {} MiB", bytes >> 20));
    format!(
        "aevatar-sandbox: {:?}: {} (wall {:.2} s, CPU {:.2} s{memory})\n",
        result.termination.reason,
        result.termination.message,
        usage.wall_time.as_secs_f64(),
        usage.cpu_time.as_secs_f64(),
    )
}

fn exit_code(result: &SandboxExecutionResult) -> ExitCode {
    let code = match result.termination.reason {
        TerminationReason::WallTimeLimit | TerminationReason::CpuTimeLimit => 124,
        TerminationReason::SandboxFailure => i32::from(FAILURE),
        TerminationReason::Cancelled => i32::from(CANCELLED),
        TerminationReason::Interrupted => i32::from(INTERRUPTED),
        _ => result.exit_code.unwrap_or(i32::from(FAILURE)),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(FAILURE))
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number of seconds, as in `30` or `0.5`"))?;
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(format!("`{text}` is not a number of seconds above 0")),
    }
}
