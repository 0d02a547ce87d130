//! The project's own commands.
//!
//! `cargo xtask ci` installs what tests need and runs every check; `bench` measures; `lock` makes the locks of the
//! default environment anew; `syscalls` writes docs/syscalls.md and `openapi` writes openapi/aevatar-sandbox.json.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line without a library")]

mod bench;
mod ci;
mod lock;
mod openapi;
mod syscalls;

use std::process::ExitCode;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    let outcome = match verb.as_deref() {
        Some("ci") => ci::run(),
        Some("bench") => bench::run(),
        Some("lock") => lock::run(),
        Some("openapi") => openapi::write(),
        Some("syscalls") => syscalls::write(),
        _ => Err(anyhow::anyhow!("name a command: ci, bench, lock, openapi or syscalls")),
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
