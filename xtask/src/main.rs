//! The project's own commands.
//!
//! `cargo xtask ci` installs what tests need and runs every check; `bench` measures; `lock` makes the locks of the
//! default environment anew; `syscalls` and `configuration` write docs/syscalls.md and docs/configuration.md from their
//! tables.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line without a library")]

mod bench;
mod ci;
mod configuration;
mod lock;
mod syscalls;

use std::process::ExitCode;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    let outcome = match verb.as_deref() {
        Some("ci") => ci::run(),
        Some("bench") => bench::run(),
        Some("lock") => lock::run(),
        Some("syscalls") => syscalls::write(),
        Some("configuration") => configuration::write(),
        _ => Err(anyhow::anyhow!("name a command: ci, bench, lock, syscalls or configuration")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests;
