//! `PythonSandboxService` and what belongs to it: environments, the monitor of one execution, verdicts.
//!
//! Logic over the [`SandboxBackend`](aevatar_sandbox_contract::SandboxBackend) trait: nothing here makes a system call
//! for a sandbox, and nothing knows which backend runs it.

mod admission;
mod bars;
mod compile_check;
pub mod environment;
mod feed;
mod files;
mod hints;
mod limits;
mod memory_store;
mod monitor;
mod output;
mod progress;
mod queue;
mod rate;
mod report;
mod service;
pub mod validator;
mod verdict;

pub use environment::{
    EnvironmentError, EnvironmentSelection, EnvironmentSummary, NoProgress, PrepareProgress, PythonEnvironmentManager,
    TerminalProgress,
};
pub use monitor::{ExecutionStreams, PythonExecutionMonitor};
pub use queue::QueueState;
pub use service::{
    EndedExecution, ExecuteOptions, ExecutionObserver, ExecutionOutcome, OutputRange, PythonSandboxService,
    ServiceOptions, default_concurrency,
};
pub use tokio_util::sync::CancellationToken;
pub use validator::{DangerousConstructs, ImportRules, PythonCodeValidator, ValidatorOptions};
