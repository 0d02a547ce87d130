//! The HTTP door: routes, problem+json, the `OpenAPI` document, start and end of the server.
//!
//! It reads requests, hands them to [`PythonSandboxService`](aevatar_sandbox_python::PythonSandboxService) and writes
//! answers. What a request means, and whether it is run, is decided behind it.

mod audit;
mod body;
mod caller;
mod capabilities;
mod docs;
mod door;
mod events;
mod execute;
mod executions;
mod files;
mod form;
mod health;
mod idempotency;
mod json;
mod metrics;
mod openapi;
mod options;
mod peer;
mod platform;
mod problem;
mod query;
mod readiness;
mod refusals;
mod request;
mod serve;
mod shared;
mod trace;
mod validate;
mod warm;

pub use openapi::document;
pub use options::{ApiKey, ExposureError, ServerOptions};
pub use problem::{Problem, ProblemCode};
pub use serve::{Server, Shutdown, serve};
