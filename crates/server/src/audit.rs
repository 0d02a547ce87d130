//! Who had which program run, and what came of it: one line of the log for each execution.

use std::borrow::Cow;

use aevatar_sandbox_python::{EndedExecution, ExecutionObserver};

use crate::metrics::start_word;

/// What the lines are found by, where the log says it.
const TARGET: &str = "audit";
/// Bytes of a program that a line may have.
const CODE: usize = 16 << 10;

/// Writes the lines. The program is in them only where the service keeps programs.
#[derive(Debug)]
pub(crate) struct Audit;

impl ExecutionObserver for Audit {
    fn ended(&self, execution: &EndedExecution<'_>) {
        let EndedExecution { owner, request_digest, queue_wait, code, result } = *execution;
        let usage = &result.usage;
        let milliseconds = |time: std::time::Duration| (time.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        // The log's own writer escapes what is in it: line feeds, terminal sequences.
        let code = code.map(shown);
        tracing::info!(
            target: TARGET,
            id = %result.execution_id,
            owner,
            digest = request_digest,
            status = ?result.status,
            reason = ?result.termination.reason,
            exit_code = result.exit_code,
            start = start_word(result.start.as_ref()),
            queue_ms = queue_wait.map(milliseconds),
            startup_ms = milliseconds(usage.startup),
            wall_ms = milliseconds(usage.wall_time),
            cpu_ms = milliseconds(usage.cpu_time),
            peak_memory_bytes = usage.peak_memory_bytes,
            code = code.as_deref(),
            "execution ended"
        );
    }
}

/// The beginning of a program.
fn shown(code: &[u8]) -> Cow<'_, str> {
    match code.get(..CODE) {
        Some(beginning) => Cow::Owned(format!("{}…", String::from_utf8_lossy(beginning))),
        None => String::from_utf8_lossy(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_program_is_cut() {
        assert_eq!(shown(b"print(1)\n"), "print(1)\n");
        assert_eq!(shown(&[0xff]), "\u{fffd}");
        let long = "é".repeat(CODE);
        let shown = shown(long.as_bytes());
        assert!(shown.len() <= CODE + 8 && shown.ends_with('…'));
    }
}
