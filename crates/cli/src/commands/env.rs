//! `aevatar-sandbox env`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use aevatar_sandbox::{EnvironmentSelection, PythonEnvironmentManager, TerminalProgress, cache_folder};
use clap::{Args, Subcommand};

use super::PythonArgument;

/// The environment with the seven packages.
const DEFAULT: &str = "default";

#[derive(Debug, Args)]
pub(crate) struct EnvArguments {
    #[command(subcommand)]
    command: EnvCommand,
}

#[derive(Debug, Subcommand)]
enum EnvCommand {
    /// Make an environment now rather than on first use
    Prepare {
        /// Requirements of a named environment: wheels only
        #[arg(long, value_name = "FILE", requires = "name")]
        requirements: Option<PathBuf>,
        /// Name of the environment
        #[arg(long, value_name = "NAME", default_value = DEFAULT)]
        name: String,
        #[command(flatten)]
        python: PythonArgument,
    },
    /// List the environments that are ready
    List,
    /// Remove an environment
    Remove {
        /// Its name
        #[arg(default_value = DEFAULT)]
        name: String,
    },
    /// Print where an environment is, or would be
    Path {
        /// Its name
        #[arg(default_value = DEFAULT)]
        name: String,
        #[command(flatten)]
        python: PythonArgument,
    },
}

pub(crate) fn run(arguments: EnvArguments) -> anyhow::Result<ExitCode> {
    let manager = PythonEnvironmentManager::new(cache_folder()?);
    let mut out = io::stdout().lock();
    match arguments.command {
        EnvCommand::Prepare { requirements, name, python } => {
            let selection = EnvironmentSelection { name, python: python.python };
            let progress = TerminalProgress::new();
            let environment = match requirements {
                Some(file) => manager.prepare_named(&selection.name, &file, selection.python.clone(), &progress)?,
                None => manager.prepare(&selection, &progress)?,
            };
            let count = environment.installed.len();
            writeln!(out, "{}: CPython {}, {count} packages", environment.name, environment.python)?;
            for package in &environment.installed {
                writeln!(out, "  {} {}", package.name, package.version)?;
            }
        }
        EnvCommand::List => {
            for environment in manager.list()? {
                writeln!(
                    out,
                    "{}\tCPython {}\t{} packages\t{} MiB\t{}",
                    environment.name,
                    environment.python,
                    environment.packages.len(),
                    environment.size >> 20,
                    environment.path.display()
                )?;
            }
        }
        EnvCommand::Remove { name } => manager.remove(&name)?,
        EnvCommand::Path { name, python } => {
            writeln!(out, "{}", manager.path(&EnvironmentSelection { name, python: python.python })?.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
