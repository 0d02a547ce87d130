//! Turns what pip wrote to standard error into an error that says what to do.

use std::path::Path;

use aevatar_sandbox_contract::PythonVersion;

use super::error::EnvironmentError;

const NO_SPACE: [&str; 4] = ["No space left on device", "[Errno 28]", "Disk quota exceeded", "[Errno 122]"];

/// Lines that only a broken line to the index produces. urllib3 retries, so one of them alone proves nothing.
const UNREACHABLE: [&str; 17] = [
    "NewConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "Connection refused",
    "Connection reset by peer",
    "Connection aborted",
    "Network is unreachable",
    "Name or service not known",
    "Temporary failure in name resolution",
    "NameResolutionError",
    "Max retries exceeded",
    "Read timed out",
    "ProxyError",
    "CERTIFICATE_VERIFY_FAILED",
    "problem confirming the ssl certificate",
    "HTTP error",
    // A plain http index that pip has not been told to trust: it is left out.
    "is not a trusted or secure host",
];

/// Lines of pip's output that an error shows.
const SHOWN_LINES: usize = 12;
/// Bytes of one line that an error shows.
const SHOWN_LINE_LENGTH: usize = 400;

/// The error for a pip that ended with `status` after writing `stderr`; `target` is where it installed to.
pub(super) fn classify(stderr: &str, status: &str, target: &Path, python: PythonVersion) -> EnvironmentError {
    if NO_SPACE.iter().any(|sign| stderr.contains(sign)) {
        return EnvironmentError::NoSpace { path: target.to_owned(), needed: None, available: None };
    }
    if stderr.contains("DO NOT MATCH THE HASHES") {
        return EnvironmentError::HashMismatch { requirement: mismatched_requirement(stderr) };
    }
    let missing = after(stderr, "No matching distribution found for ");
    // With an index that answers, pip names the versions that it has. Without one it claims that there are none.
    let has_versions = after(stderr, "(from versions: ").is_some_and(|versions| !versions.starts_with("none"));
    let unreachable = stderr.lines().rev().find(|line| UNREACHABLE.iter().any(|sign| line.contains(sign)));
    if let (Some(line), false) = (unreachable, has_versions) {
        return EnvironmentError::IndexUnreachable { detail: shortened(network_cause(line)) };
    }
    if let Some(requirement) = missing {
        let requirement = requirement.split(" (from ").next().unwrap_or(requirement);
        return EnvironmentError::NoMatchingDistribution { requirement: shortened(requirement), python };
    }
    let output = last_lines(stderr);
    if stderr.contains("ResolutionImpossible") {
        return EnvironmentError::ConflictingRequirements { output };
    }
    EnvironmentError::PipFailed { status: status.to_owned(), output }
}

/// The cause in urllib3's way to put it: `… broken by 'NewConnectionError('<object>: CAUSE')': /simple/numpy/`.
fn network_cause(line: &str) -> &str {
    let Some((_, broken_by)) = line.split_once("connection broken by ") else { return line.trim() };
    let (cause, _) = broken_by.rsplit_once("': /").unwrap_or((broken_by, ""));
    let cause = cause.split_once(">: ").or_else(|| cause.split_once('(')).map_or(cause, |(_, cause)| cause);
    cause.trim_matches(['(', ')', '\'', '"', ' '])
}

/// pip lists the requirement, indented, under its complaint: `    six==1.16.0 from https://…:`.
fn mismatched_requirement(stderr: &str) -> String {
    let complaint = stderr.lines().skip_while(|line| !line.contains("DO NOT MATCH THE HASHES")).skip(1);
    let mut indented = complaint.filter(|line| line.starts_with(' ')).map(str::trim);
    let named = indented.next().and_then(|line| line.split_whitespace().next()).unwrap_or("a package");
    shortened(named.trim_end_matches(':'))
}

fn after<'text>(text: &'text str, start: &str) -> Option<&'text str> {
    let (_, rest) = text.split_once(start)?;
    rest.lines().next()
}

fn last_lines(stderr: &str) -> String {
    let lines: Vec<_> = stderr
        .lines()
        .rev()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !line.contains("as the 'root' user") && !line.starts_with("[notice]"))
        .take(SHOWN_LINES)
        .map(shortened)
        .collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn shortened(line: &str) -> String {
    let printable = line.chars().filter(|letter| !letter.is_control());
    printable.take(SHOWN_LINE_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(stderr: &str) -> EnvironmentError {
        let python = PythonVersion { major: 3, minor: 11, micro: 2 };
        classify(stderr, "exit status: 1", Path::new("/cache"), python)
    }

    #[test]
    fn a_full_disk() {
        let error =
            classified("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n");
        assert!(matches!(error, EnvironmentError::NoSpace { .. }), "{error}");
    }

    #[test]
    fn an_index_that_does_not_answer() {
        for reason in [
            "NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object at 0x7f>: Failed to establish a \
             new connection: [Errno 111] Connection refused')",
            "NameResolutionError(\"Failed to resolve 'index.example'\")",
            "ConnectTimeoutError(<object>, 'Connection to index.example timed out. (connect timeout=15)')",
            "ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407'))",
            "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'))",
        ] {
            let error = classified(&format!(
                "WARNING: Retrying (Retry(total=0)) after connection broken by '{reason}': /simple/numpy/\n\
                 ERROR: Could not find a version that satisfies the requirement numpy==2.4.6 (from versions: none)\n\
                 ERROR: No matching distribution found for numpy==2.4.6\n"
            ));
            let EnvironmentError::IndexUnreachable { detail } = &error else { panic!("{error}") };
            assert!(!detail.contains("Retry") && !detail.contains("/simple/") && !detail.ends_with('\''), "{detail}");
        }
    }

    #[test]
    fn a_version_that_the_index_lacks_even_after_a_retry() {
        let error = classified(
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'ReadTimeoutError(\"Read timed out.\")'\n\
             ERROR: Could not find a version that satisfies the requirement numpy==9 (from versions: 1.0, 2.0)\n\
             ERROR: No matching distribution found for numpy==9 (from -r requirements.txt (line 1))\n",
        );
        let EnvironmentError::NoMatchingDistribution { requirement, .. } = &error else { panic!("{error}") };
        assert_eq!(requirement, "numpy==9");
    }

    #[test]
    fn a_name_that_the_index_lacks() {
        let error = classified(
            "ERROR: Could not find a version that satisfies the requirement nonesuch (from versions: none)\n\
             ERROR: No matching distribution found for nonesuch\n",
        );
        assert!(matches!(error, EnvironmentError::NoMatchingDistribution { .. }), "{error}");
    }

    #[test]
    fn another_file_than_the_lock_names() {
        let error = classified(
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the \
             package versions, please update the hashes. Otherwise, examine the package contents carefully; someone \
             may have tampered with them.\n    six==1.16.0 from https://index.example/six.whl (from -r r.txt (line \
             1)):\n        Expected sha256 0000\n             Got        8abb\n",
        );
        let EnvironmentError::HashMismatch { requirement } = &error else { panic!("{error}") };
        assert_eq!(requirement, "six==1.16.0");
    }

    #[test]
    fn conflicting_requirements() {
        let error = classified("ERROR: Cannot install a and b.\nERROR: ResolutionImpossible: for help visit …\n");
        assert!(matches!(error, EnvironmentError::ConflictingRequirements { .. }), "{error}");
    }

    #[test]
    fn anything_else_shows_the_end_of_the_output() {
        let noise = "noise\n".repeat(1000);
        let error = classified(&format!("{noise}\u{1b}[31mERROR: the reason\u{1b}[0m\n{}\n", "x".repeat(10_000)));
        let EnvironmentError::PipFailed { output, status } = error else { panic!("{error}") };
        assert_eq!(status, "exit status: 1");
        assert!(output.contains("the reason") && !output.contains('\u{1b}'));
        assert!(output.lines().count() <= SHOWN_LINES && output.len() < 1000);
    }
}
