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
