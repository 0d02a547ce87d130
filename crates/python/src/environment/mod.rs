//! The Python environments of this host: which interpreter, which packages, and what of the host they need.
//!
//! [`PythonEnvironmentManager::prepare`] turns a selection (a name and, optionally, an interpreter) into a
//! [`PythonEnvironment`](aevatar_sandbox_contract::PythonEnvironment). The first call for a selection finds an
//! interpreter, installs packages into the user's cache and records the result; later calls read the record, start no
//! process and need no network.
//!
//! Nothing here runs code that a user of a sandbox wrote. Packages of the default environment come from a lock with
//! hashes and may be imported on the host (for the font list); packages of a named environment are installed, from
//! wheels only, and never imported outside a sandbox.

mod cache;
mod discovery;
mod elf;
mod error;
mod fonts;
mod install;
mod interpreter;
mod libraries;
mod manager;
mod named;
mod pip;
mod pip_failure;
mod plan;
mod process;
mod progress;
mod requirements;

pub use error::{ConsideredInterpreter, EnvironmentError, UnsuitableInterpreter};
pub use manager::PythonEnvironmentManager;
pub use named::EnvironmentSummary;
pub use plan::EnvironmentSelection;
pub use process::RunFailure;
pub use progress::{NoProgress, PrepareProgress, PrepareStep, TerminalProgress};
pub use requirements::{DEFAULT_ENVIRONMENT, SUPPORTED_MINORS};

#[cfg(test)]
mod tests;
