//! The command line of Aevatar Sandbox.

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    aevatar_sandbox::enter_if_requested();
    commands::execute(commands::Arguments::parse())
}
