//! Warm interpreters, as far as the server sees to them: made after the start, and what is said of them at the end.

use aevatar_sandbox_contract::{UnprofiledImport, ZygoteMode};
use aevatar_sandbox_python::{CancellationToken, PythonSandboxService};
use tokio::time::Instant;

/// Modules that the log names at the end.
const NAMED: usize = 5;

/// Makes the warm interpreters of the default environment, unless `stopping`. Programs that come meanwhile start cold,
/// and so do all of them where this fails.
pub(crate) async fn up(service: &PythonSandboxService, stopping: CancellationToken) {
    if service.options().zygote == ZygoteMode::Off {
        return;
    }
    let started = Instant::now();
    let outcome = tokio::select! {
        biased;
        () = stopping.cancelled() => return,
        outcome = service.warm_up(None) => outcome,
    };
    match outcome {
        Ok(()) => {
            let profiles = service.warm_report().profiles;
            let ready = profiles.iter().filter(|profile| profile.ready).count();
            let took_ms = started.elapsed().as_millis();
            tracing::info!(ready, profiles = profiles.len(), took_ms, "warmed up");
        }
        Err(error) => {
            tracing::warn!(hint = error.hint, "no warm interpreters, programs start cold: {}", error.message);
        }
    }
}

/// One line in the log, if programs imported what no profile has.
pub(crate) fn tell_what_would_be_worth_a_profile(service: &PythonSandboxService) {
    if let Some(imports) = named(&service.warm_report().unprofiled_imports) {
        tracing::info!("imported by programs and in no profile of warm interpreters (`ZygoteProfiles`): {imports}");
    }
}

/// The most frequent of `imports`, which has them first; nothing when there are none.
fn named(imports: &[UnprofiledImport]) -> Option<String> {
    let count = |import: &UnprofiledImport| match import.programs {
        1 => format!("{} (1 program)", import.module),
        programs => format!("{} ({programs} programs)", import.module),
    };
    let mut names: Vec<String> = imports.iter().take(NAMED).map(count).collect();
    match imports.len().saturating_sub(NAMED) {
        0 => {}
        more => names.push(format!("and {more} more")),
    }
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(of: &[(&str, u64)]) -> Vec<UnprofiledImport> {
        of.iter().map(|&(module, programs)| UnprofiledImport { module: module.to_owned(), programs }).collect()
    }

    #[test]
    fn the_first_few_are_named() {
        assert_eq!(named(&[]), None);
        assert_eq!(named(&imports(&[("networkx", 12)])).unwrap(), "networkx (12 programs)");
        assert_eq!(named(&imports(&[("a", 2), ("b", 1)])).unwrap(), "a (2 programs), b (1 program)");
        let many = imports(&[("a", 9), ("b", 8), ("c", 7), ("d", 6), ("e", 5), ("f", 4), ("g", 3)]);
        assert!(named(&many).unwrap().ends_with(", e (5 programs), and 2 more"));
    }
}
