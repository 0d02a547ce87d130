//! The project's own commands.
//!
//! `cargo xtask ci` installs what tests need and runs every check; `bench` measures the cold path, and
//! `bench validator` the validator; `lock` makes the locks of the default environment anew; `configuration`, `openapi`
//! and `syscalls` write docs/configuration.md, openapi/aevatar-sandbox.json and docs/syscalls.md.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line without a library")]

mod bench;
mod ci;
mod configuration;
mod lock;
mod openapi;
mod syscalls;
mod validator;

use std::process::ExitCode;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    let outcome = match verb.as_deref() {
        Some("ci") => ci::run(),
        Some("bench") => match std::env::args().nth(2).as_deref() {
            None => bench::run(),
            Some("validator") => validator::run(),
            Some(_) => Err(anyhow::anyhow!("name a part of bench: validator, or nothing")),
        },
        Some("lock") => lock::run(),
        Some("openapi") => openapi::write(),
        Some("syscalls") => syscalls::write(),
        Some("configuration") => configuration::write(),
        _ => Err(anyhow::anyhow!("name a command: ci, bench, lock, configuration, openapi or syscalls")),
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
