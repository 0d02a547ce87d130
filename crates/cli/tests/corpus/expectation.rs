//! What a result must be, and the part of the result that is compared.

use std::time::Duration;

use serde::Deserialize;

use crate::site;

/// Seconds of wall-clock time that a program gets when its header names no limit.
const DEFAULT_TIMEOUT: u32 = 30;

/// How an execution must end. What is left out is not compared, but for reason, exit code and status.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    /// `Exited` when left out. More than one only where the program itself may choose.
    #[serde(default)]
    pub(crate) reason: OneOrMore,
    /// 0 when left out.
    #[serde(default)]
    pub(crate) exit: i32,
    pub(crate) stdout: Option<String>,
    #[serde(default)]
    pub(crate) stdout_contains: Vec<String>,
    pub(crate) stderr: Option<String>,
    #[serde(default)]
    pub(crate) stderr_contains: Vec<String>,
    #[serde(default)]
    pub(crate) stderr_lacks: Vec<String>,
    /// Class of the uncaught exception.
    pub(crate) error: Option<String>,
    pub(crate) error_value: Option<String>,
    pub(crate) error_line: Option<u32>,
    pub(crate) errno: Option<i32>,
    pub(crate) message_contains: Option<String>,
    /// Streams whose middle is missing; all others must be whole. None when left out.
    #[serde(default)]
    pub(crate) truncated: Vec<String>,
    /// System calls that must be reported as denied, in any order; `[]` means none.
    pub(crate) denied: Option<Vec<String>>,
    /// Seconds of wall clock for the whole command.
    pub(crate) within: Option<u64>,
}

/// One text or a list of texts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Default for OneOrMore {
    fn default() -> Self {
        Self::One("Exited".to_owned())
    }
}

impl OneOrMore {
    pub(crate) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::More(texts) => texts,
        }
    }
}

/// The part of a result that is compared.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExecutionResult {
    pub(crate) status: String,
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) truncated: Truncated,
    pub(crate) error: Option<PythonError>,
    pub(crate) termination: Termination,
    pub(crate) usage: Usage,
    /// Nothing when the program was not run.
    isolation: Option<Isolation>,
}

#[derive(Debug, Deserialize)]
struct Isolation {
    layers: Vec<Layer>,
}

#[derive(Debug, Deserialize)]
struct Layer {
    name: String,
    state: String,
}

impl ExecutionResult {
    /// Whether the result says that a layer was there.
    pub(crate) fn has_layer(&self, name: &str) -> bool {
        let layers = self.isolation.iter().flat_map(|isolation| &isolation.layers);
        layers.into_iter().any(|layer| layer.name == name && layer.state == "enforced")
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Truncated {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PythonError {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) line: Option<u32>,
    pub(crate) errno: Option<i32>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Termination {
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    #[serde(default)]
    pub(crate) denied_syscalls: Vec<String>,
}

/// Differences, one line each.
#[derive(Debug, Default)]
pub(crate) struct Differences(Vec<String>);

impl Differences {
    /// Notes a difference unless `expected` and `got` are equal.
    pub(crate) fn compare<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: &T, got: &T) {
        if expected != got {
            self.note(format!(
                "{what}: expected {}, got {}",
                shorten(&format!("{expected:?}")),
                shorten(&format!("{got:?}"))
            ));
        }
    }

    /// The same for text, where a last end of line does not count.
    pub(crate) fn compare_text(&mut self, what: &str, expected: &str, got: &str) {
        self.compare(what, &expected.trim_end_matches('\n'), &got.trim_end_matches('\n'));
    }

    pub(crate) fn note(&mut self, difference: String) {
        self.0.push(difference);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn join(&self) -> String {
        self.0.join("\n  ")
    }
}

impl Expectation {
    /// The limits to run with: a program that ends by itself gets more time on a slow host.
    pub(crate) fn patient_limits(&self, limits: &[String]) -> Vec<String> {
        let ends_by_time = |reason: &String| matches!(reason.as_str(), "WallTimeLimit" | "CpuTimeLimit");
        if site::slowness() == 1 || self.reason.as_slice().iter().any(ends_by_time) {
            return limits.to_vec();
        }
        let timeout = |limit: &String| limit.strip_prefix("--timeout=").and_then(|seconds| seconds.parse::<u32>().ok());
        let seconds = limits.iter().find_map(timeout).unwrap_or(DEFAULT_TIMEOUT);
        let others = limits.iter().filter(|limit| timeout(limit).is_none()).cloned();
        others.chain([format!("--timeout={}", seconds * site::slowness())]).collect()
    }

    /// Compares; `took` is the time of the whole command.
    pub(crate) fn check(&self, result: &ExecutionResult, took: Duration) -> Differences {
        let mut differences = Differences::default();
        let reason = &result.termination.reason;
        if !self.reason.as_slice().contains(reason) {
            differences.note(format!("reason: expected {}, got {reason}", self.reason.as_slice().join(" or ")));
        }
        let status = match reason.as_str() {
            "Exited" if self.exit == 0 => "Completed",
            "WallTimeLimit" | "CpuTimeLimit" => "TimedOut",
            _ => "Failed",
        };
        differences.compare("status", &status, &result.status.as_str());
        differences.compare("exit code", &Some(self.exit), &result.exit_code);
        if let Some(stdout) = &self.stdout {
            differences.compare_text("stdout", stdout, &result.stdout);
        }
        if let Some(stderr) = &self.stderr {
            differences.compare_text("stderr", stderr, &result.stderr);
        }
        for text in &self.stdout_contains {
            if !result.stdout.contains(text) {
                differences.note(format!("stdout lacks {text:?}: {}", shorten(&result.stdout)));
            }
        }
        for text in &self.stderr_contains {
            if !result.stderr.contains(text) {
                differences.note(format!("stderr lacks {text:?}: {}", shorten(&result.stderr)));
            }
        }
        for text in &self.stderr_lacks {
            if result.stderr.contains(text) {
                differences.note(format!("stderr has {text:?}: {}", shorten(&result.stderr)));
            }
        }
        self.check_error(result, &mut differences);
        for (stream, truncated) in [("stdout", result.truncated.stdout), ("stderr", result.truncated.stderr)] {
            let expected = self.truncated.iter().any(|name| name == stream);
            differences.compare(&format!("{stream} truncated"), &expected, &truncated);
        }
        if let Some(denied) = &self.denied {
            let mut expected = denied.clone();
            let mut got = result.usage.denied_syscalls.clone();
            expected.sort();
            got.sort();
            differences.compare("denied system calls", &expected, &got);
        }
        if let Some(seconds) = self.within
            && took > site::patience(Duration::from_secs(seconds))
        {
            differences.note(format!("it took {took:.1?}, and should take at most {seconds} s × {}", site::slowness()));
        }
        differences
    }

    fn check_error(&self, result: &ExecutionResult, differences: &mut Differences) {
        let error = result.error.as_ref();
        if let Some(name) = &self.error {
            differences.compare("error", &Some(name.as_str()), &error.map(|error| error.name.as_str()));
        } else if result.status == "Completed" {
            differences.compare("error", &None, &error.map(|error| error.name.as_str()));
        }
        if let Some(value) = &self.error_value {
            differences.compare("error value", &Some(value.as_str()), &error.map(|error| error.value.as_str()));
        }
        if self.error_line.is_some() {
            differences.compare("error line", &self.error_line, &error.and_then(|error| error.line));
        }
        if self.errno.is_some() {
            differences.compare("errno", &self.errno, &error.and_then(|error| error.errno));
        }
        if let Some(text) = &self.message_contains
            && !result.termination.message.contains(text)
        {
            differences.note(format!("message lacks {text:?}: {:?}", result.termination.message));
        }
    }
}

/// The beginning of a text that a program wrote, for a failure message.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 3000;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    let head: String = text.chars().take(SHOWN).collect();
    format!("{head}… ({} bytes)", text.len())
}
