//! CPython's own word on a program that the validator takes for a syntax error.
//!
//! The program is compiled in a sandbox and not run. Whatever comes back is a stranger's words: a program that takes
//! over the compiler can choose them. It can have itself called wrong, or be run in the sandbox, which is what it is
//! for.

use std::{collections::BTreeMap, time::Duration};

use aevatar_sandbox_contract::{
    ByteQuantity, DEFAULT_LIMITS, ExecutionId, ExecutionPlan, ExecutionStatus, PythonEnvironment, PythonError,
    ResourceLimits, SandboxExecutionResult,
};

use crate::report;

const PROGRAM: &str = include_str!("compile_check.py");

/// What CPython says of a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Compiled {
    Accepted,
    Rejected(PythonError),
    /// It did not say: the compiler ran into a limit.
    Unknown,
}

/// The execution that asks; the program goes to its stdin.
pub(crate) fn plan(environment: &PythonEnvironment) -> ExecutionPlan {
    ExecutionPlan {
        id: ExecutionId::generate(),
        code: PROGRAM.into(),
        args: Vec::new(),
        env: BTreeMap::new(),
        limits: ResourceLimits {
            // Enough for any program of the default length, and small enough for a disk in memory.
            disk_limit: ByteQuantity::from_mebibytes(1),
            process_limit: 2,
            timeout: Duration::from_secs(5),
            ..DEFAULT_LIMITS
        },
        disk_limit_is_default: true,
        environment: environment.clone(),
        import_policy: None,
    }
}

/// Reads the answer.
pub(crate) fn answer(result: &SandboxExecutionResult) -> Compiled {
    if result.status != ExecutionStatus::Completed {
        return Compiled::Unknown;
    }
    if result.stdout == "{}" {
        return Compiled::Accepted;
    }
    report::parse(result.stdout.as_bytes()).map_or(Compiled::Unknown, Compiled::Rejected)
}
