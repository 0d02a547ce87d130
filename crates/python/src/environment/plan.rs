//! What was selected, and the key under which its environment is found.

use std::fmt::Write as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::cache::Cache;
use super::interpreter::Interpreter;
use super::requirements::{DEFAULT_ENVIRONMENT, Requirements};

/// Part of every key: another number makes every environment anew. To be raised when the layout of an environment's
/// directory, or the meaning of its manifest, changes.
const LAYOUT: u32 = 2;

/// Which environment a sandbox runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentSelection {
    /// Name of the environment: [`DEFAULT_ENVIRONMENT`], or one that [`prepare_named`](super::PythonEnvironmentManager::prepare_named) made.
    pub name: String,
    /// An interpreter: a path, or a bare name that is looked up on `PATH`. Without it, the one that a named
    /// environment was made with, or else the first that fits: `python3`, then the newest supported minor.
    pub python: Option<PathBuf>,
}

impl Default for EnvironmentSelection {
    fn default() -> Self {
        Self { name: DEFAULT_ENVIRONMENT.to_owned(), python: None }
    }
}

/// A selection with everything looked up that its key depends on.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) requirements: Requirements,
    pub(super) interpreter: Interpreter,
    pub(super) key: String,
    pub(super) directory: PathBuf,
}

impl Plan {
    pub(super) fn new(cache: &Cache, name: &str, requirements: Requirements, interpreter: Interpreter) -> Self {
        let key = key(&requirements, &interpreter);
        let directory = cache.of_key(name, &key);
        Self { name: name.to_owned(), requirements, interpreter, key, directory }
    }
}

/// Everything that would make the content of an environment another one.
fn key(requirements: &Requirements, interpreter: &Interpreter) -> String {
    let mut hasher = Sha256::new();
    let locked = if requirements.is_locked() { "lock" } else { "requirements" };
    for part in [&LAYOUT.to_string(), locked, requirements.text(), &interpreter.identity()] {
        // With its length before it, no part can be taken for the end of another.
        hasher.update(part.len().to_string());
        hasher.update([0]);
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string cannot fail.
        write!(digits, "{byte:02x}").ok();
        digits
    })
}
