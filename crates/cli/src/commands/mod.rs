//! One verb, one file.

mod bench;
mod configured;
mod doctor;
mod env;
mod errors;
mod files;
mod key;
mod program;
mod progress;
mod records;
mod run;
mod serve;
mod telemetry;
mod validate;

use std::{path::PathBuf, process::ExitCode};

use aevatar_sandbox::IsolationTier;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs untrusted Python in a kernel-enforced sandbox.
#[derive(Debug, Parser)]
#[command(name = "aevatar-sandbox", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program and print what it prints.
    ///
    /// Exits with the program's exit code; 128+n after signal n, 124 after a timeout, 137 when memory ran out, 125
    /// when the sandbox itself failed or refused, 126 when the program breaks a rule and was not run.
    Run(run::RunArguments),
    /// Read a program without running it: syntax, imports, dangerous constructs.
    ///
    /// Exits with 1 when it would not be run.
    Validate(validate::ValidateArguments),
    /// Answer HTTP requests: `POST /api/python/execute`.
    ///
    /// SIGTERM stops it: no new work, a grace for what runs, then the end. A second one ends the grace.
    Serve(serve::ServeArguments),
    /// Try every layer of isolation on this host, and say what to do about a missing one.
    ///
    /// Exits with 1 when the default tier cannot be reached.
    Doctor(PythonArgument),
    /// Manage Python environments.
    Env(env::EnvArguments),
    /// Manage the keys that a server takes: make, list and revoke them.
    Key(key::KeyArguments),
    /// Measure how fast this host runs programs, beside plain Python and bubblewrap.
    ///
    /// It starts a server of its own and ends it. Exits with 1 when it could not measure; a goal that is missed is a
    /// result like any other.
    Bench(bench::BenchArguments),
}

/// Which Python environments are made with.
#[derive(Debug, Args)]
pub(crate) struct PythonArgument {
    /// Python to make the environment with: a path, or a name on PATH [default: any CPython from 3.11 on]
    #[arg(long, value_name = "PYTHON", env = "AEVATAR_SANDBOX_PYTHON")]
    python: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Isolation {
    /// Every layer and every limit, or a refusal
    Default,
    /// Do without cgroup limits and /proc where the host has none; the result says so
    Reduced,
}

impl From<Isolation> for IsolationTier {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Default => Self::Default,
            Isolation::Reduced => Self::Reduced,
        }
    }
}

/// Exit code when the sandbox itself failed or refused.
const FAILURE: u8 = 125;

pub(crate) fn execute(arguments: Arguments) -> ExitCode {
    let outcome = match arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Validate(arguments) => validate::run(arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Env(arguments) => env::run(arguments),
        Command::Key(arguments) => key::run(arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    outcome.unwrap_or_else(|error| errors::report(&error))
}
