//! The words of Aevatar Sandbox.
//!
//! Everything here is plain data, or a trait over plain data: no I/O, no operating system. What appears in JSON is
//! defined here and nowhere else; `camelCase` on the wire.

pub mod backend;
pub mod caller;
mod clock;
mod encoding;
pub mod environment;
pub mod error;
pub mod execution;
pub mod files;
pub mod imports;
pub mod isolation;
pub mod limits;
pub mod progress;
pub mod quantity;
pub mod request;
pub mod result;
pub mod start;
pub mod store;
pub mod validation;

pub use backend::{ExecutionPlan, ProgramEnd, RunningSandbox, SandboxBackend, SandboxEvent, SandboxPipes};
pub use caller::{Allowance, Caller};
pub use clock::now;
pub use environment::{InstalledPackage, PythonEnvironment, PythonVersion};
pub use error::{ErrorCode, SandboxError};
pub use execution::{
    Cancellation, ExecutionEvent, ExecutionState, LiveUsage, LostEvents, Occurrence, OutputPart, OutputPiece,
    OutputStream,
};
pub use files::{
    CollectedFile, CollectedFiles, FileLimits, InputFile, OutputFile, OutputFiles, SkipReason, SkippedFile,
};
pub use imports::{ImportDecision, ImportPolicy};
pub use isolation::{IsolationLayer, IsolationReport, IsolationTier, LayerState};
pub use limits::{DEFAULT_LIMITS, LimitMaxima, ResourceLimits};
pub use progress::Progress;
pub use quantity::{ByteQuantity, CpuQuantity, ParseQuantityError};
pub use request::{SandboxExecutionRequest, SandboxResources};
pub use result::{
    ExecutionId, ExecutionStatus, PythonError, ResourceUsage, SandboxExecutionResult, Termination, TerminationReason,
    Truncated,
};
pub use start::{IsolationOptions, ProgramStart, StartPath, UnprofiledImport, WarmProfile, WarmReport, ZygoteMode};
pub use store::{
    ExecutionQuery, ExecutionRecord, ExecutionStore, FinishedExecution, Inheritance, KeyStore, NewExecution, Recorded,
    Retention, StoreError, StoredKey,
};
pub use validation::{CodeFinding, MAX_FINDINGS, ModuleImport, ValidationReport, ValidationRule};
