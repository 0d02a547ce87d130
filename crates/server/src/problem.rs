//! Answers to requests that were not run: RFC 9457 problem details.

use std::time::Duration;

use aevatar_sandbox_contract::{CodeFinding, ErrorCode, SandboxError};
use aevatar_sandbox_python::EnvironmentError;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// What kind of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum ProblemCode {
    /// The body is no JSON, or nested too deeply.
    MalformedJson,
    /// A field is unknown, missing, of a wrong type, or out of its range.
    InvalidRequest,
    /// A limit that this host cannot enforce.
    LimitNotEnforceable,
    /// No valid key was shown.
    Unauthenticated,
    /// The request calls this host by a name that it does not go by.
    HostNotAllowed,
    /// There is nothing at this path, or no such execution.
    NotFound,
    /// The path exists, with another method.
    MethodNotAllowed,
    /// The client took too long to send its request.
    RequestTimeout,
    /// The body is larger than allowed.
    RequestTooLarge,
    /// The program is longer than allowed.
    CodeTooLong,
    /// The body is not declared to be JSON.
    UnsupportedMediaType,
    /// The program breaks a rule; `violations` say where.
    CodeRejected,
    /// As much is being done as may.
    Busy,
    /// The idempotency key belongs to another request.
    IdempotencyConflict,
    /// The server is stopping.
    Stopping,
    /// Executions cannot be recorded, or looked up.
    StoreUnavailable,
    /// The host lacks a layer of isolation.
    IsolationUnavailable,
    /// The Python environment could not be prepared.
    EnvironmentUnavailable,
    /// A fault of the sandbox.
    SandboxFailure,
}

impl ProblemCode {
    const fn status(self) -> StatusCode {
        match self {
            Self::MalformedJson | Self::InvalidRequest | Self::LimitNotEnforceable => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::HostNotAllowed => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::RequestTooLarge | Self::CodeTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::CodeRejected => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::IdempotencyConflict => StatusCode::CONFLICT,
            Self::Stopping | Self::StoreUnavailable | Self::IsolationUnavailable | Self::EnvironmentUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::SandboxFailure => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::MalformedJson => "The body is not valid JSON",
            Self::InvalidRequest => "The request makes no sense",
            Self::LimitNotEnforceable => "The limit cannot be enforced here",
            Self::Unauthenticated => "A key is needed",
            Self::HostNotAllowed => "This host does not go by that name",
            Self::NotFound => "There is nothing here",
            Self::MethodNotAllowed => "The method is not allowed here",
            Self::RequestTimeout => "The request took too long to arrive",
            Self::RequestTooLarge => "The request is too large",
            Self::CodeTooLong => "The program is too long",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::CodeRejected => "The program breaks a rule",
            Self::Busy => "As much is being done as may",
            Self::IdempotencyConflict => "The idempotency key belongs to another request",
            Self::Stopping => "The server is stopping",
            Self::StoreUnavailable => "The records cannot be reached",
            Self::IsolationUnavailable => "This host lacks a layer of isolation",
            Self::EnvironmentUnavailable => "The Python environment could not be prepared",
            Self::SandboxFailure => "The sandbox failed",
        }
    }
}

/// Why a request was not run, and what to do next.
#[derive(Clone, Debug)]
pub struct Problem(Box<ProblemDetails>);

/// The members of a problem, as they are sent.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem, example = json!({
    "type": "urn:aevatar-sandbox:problem:InvalidRequest",
    "title": "The request makes no sense",
    "status": 400,
    "code": "InvalidRequest",
    "detail": "there is no field `resources.cpu_limit`",
    "hint": "did you mean `resources.cpuLimit`?",
    "field": "resources.cpu_limit",
}))]
pub(crate) struct ProblemDetails {
    /// Identifies the kind of problem: `urn:aevatar-sandbox:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem, for a person.
    title: &'static str,
    /// The HTTP status, once more.
    status: u16,
    /// The kind of problem, for a program.
    code: ProblemCode,
    /// What is wrong with this request.
    detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The field that is wrong: `resources.cpuLimit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// Where the program breaks which rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    violations: Vec<CodeFinding>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl Problem {
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self(Box::new(ProblemDetails {
            kind: format!("urn:aevatar-sandbox:problem:{code:?}"),
            title: code.title(),
            status: code.status().as_u16(),
            code,
            detail: detail.into(),
            hint: None,
            field: None,
            violations: Vec::new(),
            retry_after: None,
        }))
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with_field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    #[must_use]
    pub(crate) fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    /// What kind it is.
    pub const fn code(&self) -> ProblemCode {
        self.0.code
    }

    /// What is wrong.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What to do next.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub(crate) fn stopping() -> Self {
        Self::new(ProblemCode::Stopping, "the server is stopping and takes no new work")
            .with_hint("ask another server, or again when this one has started anew")
            .with_retry_after(Duration::from_secs(5))
    }
}

impl From<SandboxError> for Problem {
    fn from(error: SandboxError) -> Self {
        let code = match error.code {
            // A host that lacks its environment gets well again; a request for one that is not there does not.
            ErrorCode::EnvironmentUnavailable if names_no_environment(&error) => {
                let mut problem = Self::new(ProblemCode::InvalidRequest, error.message).with_field("environment");
                problem.0.hint = error.hint;
                return problem;
            }
            ErrorCode::InvalidRequest => ProblemCode::InvalidRequest,
            ErrorCode::CodeTooLong => ProblemCode::CodeTooLong,
            ErrorCode::CodeRejected => ProblemCode::CodeRejected,
            ErrorCode::Busy => ProblemCode::Busy,
            ErrorCode::LimitNotEnforceable => ProblemCode::LimitNotEnforceable,
            ErrorCode::IsolationUnavailable => ProblemCode::IsolationUnavailable,
            ErrorCode::EnvironmentUnavailable => ProblemCode::EnvironmentUnavailable,
            ErrorCode::NotFound => ProblemCode::NotFound,
            ErrorCode::IdempotencyConflict => ProblemCode::IdempotencyConflict,
            ErrorCode::StoreUnavailable => {
                // What is wrong with it is nothing that a client should read.
                tracing::error!(source = error.source.as_ref().map(tracing::field::debug), "{}", error.message);
                ProblemCode::StoreUnavailable
            }
            ErrorCode::Cancelled | ErrorCode::Interrupted => return Self::stopping(),
            _ => ProblemCode::SandboxFailure,
        };
        let mut problem = Self::new(code, error.message);
        problem.0.hint = error.hint;
        problem.0.violations = error.violations;
        problem.0.retry_after = error.retry_after;
        problem
    }
}

/// Whether the environment that was asked for is none of this host's.
fn names_no_environment(error: &SandboxError) -> bool {
    let source = error.source.as_ref().and_then(|source| source.downcast_ref());
    matches!(source, Some(EnvironmentError::InvalidName { .. } | EnvironmentError::UnknownEnvironment { .. }))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.0.code.status();
        // Plain data always serialises.
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(delay) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
        }
        // For those who count.
        response.extensions_mut().insert(self.0.code);
        let headers = response.headers_mut();
        if self.0.code == ProblemCode::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
