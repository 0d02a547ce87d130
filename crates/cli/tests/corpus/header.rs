//! The TOML in the first comment of each program; `tests/corpus/README.md` describes it.

use std::{path::Path, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};

use crate::expectation::{Differences, ExecutionResult, Expectation, OneOrMore};

/// Header of an attack.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attack {
    pub(crate) tries: String,
    pub(crate) requirement: String,
    pub(crate) layer: String,
    #[serde(default)]
    pub(crate) limits: Vec<String>,
    /// How often it runs in a row, in both places; the last run counts.
    #[serde(default = "once")]
    pub(crate) runs: u32,
    /// The only architecture on which it makes sense.
    pub(crate) machine: Option<String>,
    /// The layer that must be enforced for it to fail, where a host may lack that in the default tier.
    pub(crate) needs_layer: Option<String>,
    pub(crate) control: Control,
    pub(crate) inside: Inside,
}

/// How an attack must end inside: more than one way where kernels differ.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Inside {
    One(Box<Expectation>),
    Any(Vec<Expectation>),
}

impl Inside {
    pub(crate) fn as_slice(&self) -> &[Expectation] {
        match self {
            Self::One(expectation) => std::slice::from_ref(expectation),
            Self::Any(expectations) => expectations,
        }
    }

    /// The differences from the expectation that it is nearest to.
    pub(crate) fn check(&self, result: &ExecutionResult, took: Duration) -> Differences {
        let all = self.as_slice().iter().map(|expectation| expectation.check(result, took));
        all.min_by_key(Differences::count).unwrap_or_default()
    }
}

impl Attack {
    /// The limits to run with inside; see [`Expectation::patient_limits`].
    pub(crate) fn patient_limits(&self) -> Vec<String> {
        let first = self.inside.as_slice().first();
        first.map_or_else(|| self.limits.clone(), |first| first.patient_limits(&self.limits))
    }
}

/// How an attack must end outside the sandbox.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Control {
    #[serde(default)]
    pub(crate) exit: i32,
    pub(crate) signal: Option<i32>,
    /// Exact; `{file_secret}` and the like stand for this trial's canaries. More than one where kernels differ.
    pub(crate) stdout: Option<OneOrMore>,
    /// Length of stdout, where it is too long to compare.
    pub(crate) stdout_bytes: Option<u64>,
    /// Text in stdout by which this host's kernel says that it lacks what is attacked.
    pub(crate) absent: Option<String>,
}

/// Header of an honest program.
#[derive(Debug, Deserialize)]
pub(crate) struct Honest {
    pub(crate) shows: String,
    #[serde(default)]
    pub(crate) limits: Vec<String>,
    #[serde(default)]
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) stdin: String,
    #[serde(default = "once")]
    pub(crate) runs: u32,
    /// The module that it imports and that the default import policy blocks: with the policy on it is refused.
    pub(crate) blocked: Option<String>,
    /// No line of stdout may appear in two runs.
    #[serde(default)]
    pub(crate) runs_differ: bool,
    #[serde(flatten)]
    pub(crate) expectation: Expectation,
}

fn once() -> u32 {
    1
}

/// Reads the header of `path`: the comment from `# /// kind` to `# ///`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, kind: &str) -> Result<T, String> {
    let source = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let source = String::from_utf8_lossy(&source);
    let begin = format!("# /// {kind}");
    let mut lines = source.lines().skip_while(|line| *line != begin);
    lines.next().ok_or_else(|| format!("{} has no `{begin}`", path.display()))?;
    let mut header = String::new();
    for line in lines {
        if line == "# ///" {
            return toml::from_str(&header).map_err(|error| format!("header of {}: {error}", path.display()));
        }
        let Some(line) = line.strip_prefix("# ").or_else(|| line.strip_prefix('#')) else { break };
        header.push_str(line);
        header.push('\n');
    }
    Err(format!("the header of {} has no end", path.display()))
}
