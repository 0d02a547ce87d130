//! Executions to record.

use std::time::Duration;

use aevatar_sandbox_contract::{
    Allowance, CollectedFile, DEFAULT_LIMITS, ExecutionId, ExecutionStatus, FinishedExecution, NewExecution,
    OutputFile, ResourceUsage, SandboxExecutionRequest, SandboxExecutionResult, Termination, TerminationReason,
    Truncated,
};
use jiff::Timestamp;

pub(crate) const OWNER: &str = "k_owner";

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_microsecond(1_700_000_000_000_000 + second * 1_000_000 + 123_456).unwrap()
}

/// One that waits, of [`OWNER`].
pub(crate) fn waiting() -> NewExecution {
    let mut request = SandboxExecutionRequest::new("print('hello')").timeout(Duration::from_millis(1500));
    request.args = vec!["ä\u{fffd}".to_owned()];
    request.stdin = vec![0, 255];
    NewExecution {
        id: ExecutionId::generate(),
        owner: OWNER.to_owned(),
        request_digest: "d1".to_owned(),
        idempotency_key: None,
        queued_at: at(0),
        request,
        allowance: Allowance { per_minute: Some(7), ..Allowance::default() },
    }
}

/// One that waits, with the caller's own name.
pub(crate) fn named(key: &str, digest: &str) -> NewExecution {
    NewExecution { idempotency_key: Some(key.to_owned()), request_digest: digest.to_owned(), ..waiting() }
}

/// The end of one, of [`OWNER`].
pub(crate) fn ended(id: ExecutionId) -> FinishedExecution {
    FinishedExecution {
        owner: OWNER.to_owned(),
        request_digest: "d1".to_owned(),
        result: result(id),
        events: Vec::new(),
        files: Vec::new(),
        request: None,
    }
}

/// An end at a time.
pub(crate) fn ended_at(second: i64) -> FinishedExecution {
    let mut execution = ended(ExecutionId::generate());
    execution.result.finished_at = at(second);
    execution
}

pub(crate) fn result(id: ExecutionId) -> SandboxExecutionResult {
    SandboxExecutionResult {
        execution_id: id,
        status: ExecutionStatus::Failed,
        is_completed: true,
        exit_code: Some(1),
        stdout: "out\n".to_owned(),
        stderr: String::new(),
        truncated: Truncated::default(),
        error: None,
        termination: Termination {
            reason: TerminationReason::Exception,
            message: "ended".to_owned(),
            limit: None,
            peak: None,
        },
        hints: Vec::new(),
        warnings: Vec::new(),
        usage: ResourceUsage { wall_time: Duration::from_micros(12_345), ..ResourceUsage::default() },
        limits: DEFAULT_LIMITS,
        isolation: None,
        start: None,
        files: Vec::new(),
        skipped_files: Vec::new(),
        environment: "default".to_owned(),
        queued_at: at(0),
        started_at: Some(at(1)),
        finished_at: at(2),
    }
}

pub(crate) fn file(path: &str, content: &[u8]) -> CollectedFile {
    CollectedFile {
        file: OutputFile {
            path: path.to_owned(),
            size: content.len() as u64,
            mime_type: "text/plain".to_owned(),
            sha256: "ab".repeat(32),
            content: None,
        },
        content: content.to_vec(),
    }
}
