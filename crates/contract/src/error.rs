//! Errors of the service: requests it did not run, and its own faults. A program that fails is a result instead.

use std::time::Duration;

use crate::validation::CodeFinding;

/// What kind of error it is; the HTTP door maps it to a status, the command line to an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request makes no sense: a NUL in an argument, a limit out of range.
    InvalidRequest,
    /// The program is longer than allowed.
    CodeTooLong,
    /// The program breaks a rule; the error's `violations` say where.
    CodeRejected,
    /// As many programs run as may; the error's `retry_after` says when to ask again.
    Busy,
    /// A limit that this host or this tier cannot enforce.
    LimitNotEnforceable,
    /// The host lacks a layer that the isolation tier needs.
    IsolationUnavailable,
    /// The Python environment could not be prepared.
    EnvironmentUnavailable,
    /// Cancelled by the caller before the program started.
    Cancelled,
    /// The service stopped before the program started.
    Interrupted,
    /// There is no such execution, or it is somebody else's, or it is no longer kept.
    NotFound,
    /// The same idempotency key was used for another request.
    IdempotencyConflict,
    /// Executions could not be recorded, or looked up.
    StoreUnavailable,
    /// The sandbox itself failed.
    SandboxFailure,
}

/// An error of the service.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SandboxError {
    /// What kind.
    pub code: ErrorCode,
    /// What failed, on what.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Where the program breaks which rule, of [`ErrorCode::CodeRejected`].
    pub violations: Vec<CodeFinding>,
    /// When it is worth asking again, of [`ErrorCode::Busy`].
    pub retry_after: Option<Duration>,
    /// Why.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SandboxError {
    /// An error of kind `code`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, violations: Vec::new(), retry_after: None, source: None }
    }

    /// `what` was broken off: its task ended before it did.
    pub fn broken_off(what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(ErrorCode::SandboxFailure, format!("{what} was broken off")).with_source(source)
    }

    /// The same with what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}
