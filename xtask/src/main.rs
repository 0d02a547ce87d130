//! The project's own commands.
//!
//! `cargo xtask ci` installs what tests need and runs every check; `api-test` sends the HTTP service requests that are
//! made from its document; `vm-test` runs the tests on a stock Linux; `bench validator` measures the validator; `layers`
//! leaves out each layer and shows what it stops; `lock` makes the locks of the default environment anew;
//! `configuration`, `openapi` and `syscalls` write docs/configuration.md, openapi/aevatar-sandbox.json and
//! docs/syscalls.md.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line without a library")]

mod api_test;
mod ci;
mod configuration;
mod layers;
mod load;
mod lock;
mod openapi;
mod server;
mod syscalls;
mod validator;
mod vm;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = arguments.split_first().map_or(("", &[][..]), |(verb, rest)| (verb.as_str(), rest));
    let outcome = match verb {
        "api-test" => api_test::run(),
        "ci" => ci::run(),
        "bench" => match rest.first().map(String::as_str) {
            Some("validator") => validator::run(),
            Some("load") => load::run(),
            _ => Err(anyhow::anyhow!(
                "`cargo xtask bench` measures the `validator`, or the service under `load`; `aevatar-sandbox bench` \
                 measures everything else"
            )),
        },
        "layers" => layers::run(rest),
        "lock" => lock::run(),
        "openapi" => openapi::write(),
        "syscalls" => syscalls::write(),
        "configuration" => configuration::write(),
        "vm-test" => vm::run(rest),
        _ => Err(anyhow::anyhow!(
            "name a command: api-test, ci, bench, layers, lock, configuration, openapi, syscalls or vm-test"
        )),
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
