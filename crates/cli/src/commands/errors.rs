//! The one place where errors are told to the user.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use aevatar_sandbox::{EnvironmentError, ErrorCode, SandboxError, configuration::ConfigurationError};

use super::FAILURE;

/// Exit code for a request that makes no sense, as for a wrong argument.
const USAGE: u8 = 2;

/// Exit code for a program that breaks a rule, as of a shell for a command that it may not execute.
const REJECTED: u8 = 126;

/// Exit code after Ctrl-C, as of a program that SIGINT ended.
pub(crate) const CANCELLED: u8 = 130;
/// Exit code after SIGTERM, likewise.
pub(crate) const INTERRUPTED: u8 = 143;

/// Prints a request that was not run as one JSON object on stdout, with the members of the HTTP door's problems.
pub(crate) fn print_json(error: &anyhow::Error) {
    let Some(error) = error.downcast_ref::<SandboxError>() else { return };
    let object = serde_json::json!({
        "code": format!("{:?}", error.code),
        "detail": error.message,
        "hint": error.hint,
        "violations": error.violations,
    });
    // If stdout is closed, nobody wants to know.
    drop(writeln!(io::stdout(), "{object}"));
}

/// Prints what failed, why, and what to do next; returns the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let mut text = format!("error: {error}\n");
    let mut told = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some messages end with their cause already.
        if !told.contains(&cause) {
            let _ = writeln!(text, "  caused by: {cause}");
            told.push_str(&cause);
        }
    }
    let sandbox = error.downcast_ref::<SandboxError>();
    for violation in sandbox.iter().flat_map(|error| &error.violations).skip(1) {
        let _ = writeln!(text, "  line {}, column {}: {}", violation.line, violation.column, violation.message);
    }
    let hint = sandbox
        .and_then(|error| error.hint.clone())
        .or_else(|| error.downcast_ref::<EnvironmentError>().map(EnvironmentError::hint));
    if let Some(hint) = hint {
        let _ = writeln!(text, "hint: {hint}");
    }
    // If stderr is closed, nobody wants to know.
    drop(io::stderr().write_all(text.as_bytes()));
    ExitCode::from(match sandbox.map(|error| error.code) {
        Some(ErrorCode::InvalidRequest | ErrorCode::CodeTooLong) => USAGE,
        Some(ErrorCode::CodeRejected) => REJECTED,
        None if error.is::<ConfigurationError>() => USAGE,
        Some(ErrorCode::Cancelled) => CANCELLED,
        Some(ErrorCode::Interrupted) => INTERRUPTED,
        _ => FAILURE,
    })
}
