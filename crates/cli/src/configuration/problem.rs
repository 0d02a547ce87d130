//! What is wrong with a configuration, and where.

use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{SECTION, value};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file.
    File {
        /// Its path as it was given.
        path: PathBuf,
        /// The line, from 1; none when the whole file is meant.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment {
        /// Its name as it was written; U+FFFD stands for what is not UTF-8.
        name: String,
    },
    /// The caller, as for a flag.
    Caller {
        /// What the caller calls it: `--port`.
        name: String,
    },
}

impl Origin {
    /// A line of a file.
    pub(super) fn line(path: &Path, line: usize) -> Self {
        Self::File { path: path.to_owned(), line: Some(line) }
    }

    /// A setting by its key below the section, and where it was set.
    pub(super) fn describe(&self, key: &str) -> String {
        let full = format!("{SECTION}:{}", value::shown(key));
        match self {
            Self::Default => format!("{full} (default)"),
            Self::File { path, line } => format!("{full} in {}", place(path, *line)),
            Self::Environment { name } => format!("environment variable `{}`", value::shown(name)),
            Self::Caller { name } => format!("`{}` ({full})", value::shown(name)),
        }
    }

    /// How `key` would be written there.
    pub(super) fn spelling(&self, key: &str) -> String {
        match self {
            Self::Environment { .. } => format!("{SECTION}__{}", key.replace(':', "__")),
            _ => format!("{SECTION}:{key}"),
        }
    }
}

/// One thing that is wrong with a configuration. It prints as one line: key, origin, value, what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationProblem {
    origin: Origin,
    message: String,
}

impl ConfigurationProblem {
    /// `what` is wrong with a setting below the section.
    pub(super) fn of_setting(key: &str, origin: &Origin, what: &str) -> Self {
        Self { message: format!("{} {what}", origin.describe(key)), origin: origin.clone() }
    }

    /// `what` is wrong with a file, at a line or as a whole.
    pub(super) fn of_file(path: &Path, line: Option<usize>, what: &str) -> Self {
        Self { message: format!("{} {what}", place(path, line)), origin: Origin::File { path: path.to_owned(), line } }
    }

    /// Where the wrong value is.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Display for ConfigurationProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// A configuration that cannot be used. It prints one problem on each line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.problems))]
pub struct ConfigurationError {
    problems: Vec<ConfigurationProblem>,
}

impl ConfigurationError {
    pub(super) const fn new(problems: Vec<ConfigurationProblem>) -> Self {
        Self { problems }
    }

    /// All problems; at least one.
    pub fn problems(&self) -> &[ConfigurationProblem] {
        &self.problems
    }
}

fn place(path: &Path, line: Option<usize>) -> String {
    let line = line.map(|line| format!(" (line {line})")).unwrap_or_default();
    format!("`{}`{line}", value::shown(&path.to_string_lossy()))
}

fn listed(problems: &[ConfigurationProblem]) -> String {
    const SHOWN: usize = 50;
    let mut text = match problems.len() {
        1 => "the configuration has a problem:".to_owned(),
        count => format!("the configuration has {count} problems:"),
    };
    for problem in problems.iter().take(SHOWN) {
        text.push_str("\n  ");
        text.push_str(&problem.message);
    }
    if let Some(more) = problems.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  and {more} more");
    }
    text
}
