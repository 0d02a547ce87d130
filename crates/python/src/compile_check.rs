//! CPython's own word on a program that the validator takes for a syntax error.
//!
//! The program is compiled in a sandbox and not run. Whatever comes back is a stranger's words: a program that takes
//! over the compiler can choose them. It can have itself called wrong, or be run in the sandbox, which is what it is
//! for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aevatar_sandbox_contract::{
    ByteQuantity, ExecutionId, ExecutionPlan, ExecutionStatus, ImportPolicy, PythonEnvironment, PythonError,
    ResourceLimits, SandboxExecutionResult, ZygoteMode,
};

use crate::report;

const PROGRAM: &str = include_str!("compile_check.py");
/// How long CPython may think about it.
const LONGEST: Duration = Duration::from_secs(5);

/// What CPython says of a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Compiled {
    Accepted,
    Rejected(PythonError),
    /// It did not say: the compiler ran into a limit.
    Unknown,
}

/// The execution that asks; the program goes to its stdin.
pub(crate) fn plan(
    code: &[u8],
    environment: &PythonEnvironment,
    import_policy: Option<Arc<ImportPolicy>>,
    defaults: &ResourceLimits,
) -> ExecutionPlan {
    let mebibytes = u32::try_from(code.len() >> 20).unwrap_or(u32::MAX);
    ExecutionPlan {
        id: ExecutionId::generate(),
        code: PROGRAM.into(),
        args: Vec::new(),
        env: BTreeMap::new(),
        limits: ResourceLimits {
            // For the program and the one that asks, and as a rule small enough for a disk in memory.
            disk_limit: ByteQuantity::from_mebibytes(mebibytes.saturating_add(2)),
            process_limit: 2,
            timeout: LONGEST.min(defaults.timeout),
            ..defaults.clone()
        },
        disk_limit_is_default: true,
        environment: environment.clone(),
        // The same, so that it is the same engine.
        import_policy,
        imports: Vec::new(),
        zygote: ZygoteMode::On,
        files: Vec::new(),
        output_files: None,
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

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;

    /// What the program that asks prints of `code`, run by this host's own Python.
    fn asked(code: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("main.py");
        // As in a sandbox, the one who asks and what it asks for are the same file.
        let program = PROGRAM.replace("/work/main.py", file.to_str().unwrap());
        fs_err::write(&file, &program).unwrap();
        let mut asking =
            Command::new("python3").arg("-I").arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        asking.stdin.take().unwrap().write_all(code).unwrap();
        let answer = String::from_utf8(asking.wait_with_output().unwrap().stdout).unwrap();
        answer.replace(file.to_str().unwrap(), "/work/main.py")
    }

    #[test]
    fn an_answer_has_cpythons_words() {
        assert_eq!(asked(b"print(1)"), "{}");
        let error = report::parse(asked(b"x = 1\nprint(").as_bytes()).unwrap();
        assert_eq!((error.name.as_str(), error.value.as_str()), ("SyntaxError", "'(' was never closed"));
        assert_eq!((error.line, error.column), (Some(2), Some(6)));
        assert_eq!(
            error.traceback,
            "  File \"/work/main.py\", line 2\n    print(\n         ^\nSyntaxError: '(' was never closed\n"
        );
        // This one has its line from the file.
        let open = report::parse(asked(b"x = (").as_bytes()).unwrap();
        assert!(open.traceback.contains("\n    x = (\n        ^\n"), "{open:?}");
        let broken = report::parse(asked(b"\xff").as_bytes()).unwrap();
        assert_eq!(broken.name, "SyntaxError");
        let deep = report::parse(asked("-".repeat(200_000).as_bytes()).as_bytes()).unwrap();
        assert!(["SyntaxError", "MemoryError", "RecursionError"].contains(&deep.name.as_str()), "{deep:?}");
    }
}
