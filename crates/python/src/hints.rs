//! What to do about the way a program ended, for a person or a model that wrote it.

use aevatar_sandbox_contract::{ModuleImport, SandboxExecutionResult, TerminationReason};

/// Modules that a program reaches for the network with.
const NETWORK_MODULES: [&str; 14] = [
    "aiohttp", "asyncio", "ftplib", "http", "httpx", "imaplib", "pandas", "poplib", "requests", "smtplib", "socket",
    "ssl", "urllib", "urllib3",
];
/// What the C library and the kernel say where there is no network.
const NO_NETWORK: [&str; 4] = [
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "Failed to resolve",
];
/// What a missing shell looks like.
const NO_SHELL: [&str; 2] = ["No such file or directory: '/bin/sh'", "/bin/sh: "];

/// The hints on `result`, of a program with `imports`.
pub(crate) fn hints(result: &SandboxExecutionResult, imports: &[ModuleImport]) -> Vec<String> {
    let mut hints = Vec::new();
    let limits = &result.limits;
    match result.termination.reason {
        TerminationReason::OutOfMemory => hints.push(format!(
            "use less memory (smaller chunks, fewer copies), or ask for a higher `memoryLimit` than {}",
            limits.memory_limit
        )),
        TerminationReason::WallTimeLimit | TerminationReason::CpuTimeLimit => hints.push(format!(
            "do less work, or ask for a higher limit: `timeout` was {} s, `cpuLimit` {}",
            limits.timeout.as_secs_f64(),
            limits.cpu_limit
        )),
        TerminationReason::OutputLimit => hints.push("print less: only what is needed".to_owned()),
        TerminationReason::DiskLimit => hints.push(format!(
            "write less, delete what is not needed any more, or ask for a higher `diskLimit` than {}",
            limits.disk_limit
        )),
        TerminationReason::ProcessLimit => {
            hints.push(format!("start fewer processes and threads than {}", limits.process_limit));
        }
        _ => {}
    }
    let shows = |signs: &[&str]| {
        let in_error = result.error.as_ref().map_or("", |error| error.value.as_str());
        signs.iter().any(|sign| [in_error, &result.stderr, &result.stdout].iter().any(|text| text.contains(sign)))
    };
    if imports.iter().any(|import| NETWORK_MODULES.contains(&top_level(&import.module))) && shows(&NO_NETWORK) {
        hints.push("this sandbox has no network: pass the data in with the request instead of fetching it".to_owned());
    }
    let error_name = result.error.as_ref().map(|error| error.name.as_str());
    if error_name == Some("FileNotFoundError") && shows(&NO_SHELL) {
        hints.push("this sandbox has no shell and no programs but Python: use Python's own functions".to_owned());
    }
    if error_name == Some("EOFError") && shows(&["EOF when reading a line"]) {
        hints.push("the program reads more input than it was given: pass it as `stdin`".to_owned());
    }
    if error_name == Some("ModuleNotFoundError") {
        hints.push("nothing can be installed in this sandbox: use the packages that it has".to_owned());
    }
    hints
}

fn top_level(module: &str) -> &str {
    module.split('.').next().unwrap_or(module)
}

#[cfg(test)]
mod tests {
    use aevatar_sandbox_contract::{DEFAULT_LIMITS, ExecutionId, ExecutionStatus, PythonError, Termination};

    use super::*;

    fn result(reason: TerminationReason, error: Option<(&str, &str)>, stdout: &str) -> SandboxExecutionResult {
        let termination = Termination { reason, message: String::new(), limit: None, peak: None };
        let (id, at) = (ExecutionId::generate(), jiff::Timestamp::UNIX_EPOCH);
        let ended = (ExecutionStatus::Failed, termination);
        SandboxExecutionResult {
            exit_code: Some(1),
            stdout: stdout.to_owned(),
            error: error.map(|(name, value)| PythonError {
                name: name.to_owned(),
                value: value.to_owned(),
                traceback: String::new(),
                line: None,
                column: None,
                errno: None,
            }),
            ..SandboxExecutionResult::not_run(id, DEFAULT_LIMITS, String::new(), at, ended)
        }
    }

    fn told(result: &SandboxExecutionResult, imports: &[&str]) -> Vec<String> {
        let import = |module: &&str| ModuleImport { module: (*module).to_owned(), line: 1, column: 1 };
        hints(result, &imports.iter().map(import).collect::<Vec<_>>())
    }

    #[test]
    fn a_program_that_wants_the_network_is_told_that_there_is_none() {
        let no_name = "Failed to resolve 'example.com' ([Errno -2] Name or service not known)";
        let uncaught = result(TerminationReason::Exception, Some(("ConnectionError", no_name)), "");
        let printed = result(TerminationReason::Exited, None, no_name);
        for seen in [&uncaught, &printed] {
            assert!(told(seen, &["requests"])[0].starts_with("this sandbox has no network"));
            assert!(told(seen, &["urllib.request"])[0].starts_with("this sandbox has no network"));
            assert_eq!(told(seen, &["math"]), Vec::<String>::new(), "a program that only prints such words");
        }
        assert_eq!(told(&result(TerminationReason::Exited, None, "fine"), &["requests"]), Vec::<String>::new());
    }

    #[test]
    fn each_limit_names_what_to_ask_for() {
        for (reason, word) in [
            (TerminationReason::OutOfMemory, "`memoryLimit` than 512Mi"),
            (TerminationReason::WallTimeLimit, "`timeout` was 30 s"),
            (TerminationReason::CpuTimeLimit, "`cpuLimit` 1"),
            (TerminationReason::DiskLimit, "`diskLimit` than 1Gi"),
            (TerminationReason::ProcessLimit, "than 64"),
            (TerminationReason::OutputLimit, "print less"),
        ] {
            let hints = told(&result(reason, None, ""), &[]);
            assert!(hints.len() == 1 && hints[0].contains(word), "{reason:?}: {hints:?}");
        }
    }

    #[test]
    fn what_a_sandbox_lacks_is_named() {
        for (name, value, word) in [
            ("FileNotFoundError", "[Errno 2] No such file or directory: '/bin/sh'", "no shell"),
            ("EOFError", "EOF when reading a line", "`stdin`"),
            ("ModuleNotFoundError", "No module named 'torch'", "nothing can be installed"),
        ] {
            let hints = told(&result(TerminationReason::Exception, Some((name, value)), ""), &[]);
            assert!(hints.len() == 1 && hints[0].contains(word), "{name}: {hints:?}");
        }
        let plain = result(TerminationReason::Exception, Some(("ValueError", "no")), "");
        assert_eq!(told(&plain, &[]), Vec::<String>::new());
    }
}
