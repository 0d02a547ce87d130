//! Environments that users made from their own requirements, and what `list` tells of every environment.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aevatar_sandbox_contract::{InstalledPackage, PythonEnvironment, PythonVersion};
use serde::{Deserialize, Serialize};

use super::cache::{Cache, list_directory, read_json, size_on_disk, write_json};
use super::error::EnvironmentError;
use super::manager::MANIFEST;
use super::requirements::{DEFAULT_ENVIRONMENT, MAX_LENGTH, Requirements};

const RECORD: &str = "requirements.json";
const MAX_NAME_LENGTH: usize = 64;

/// What a named environment was made from; enough to make it again after its interpreter was upgraded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NamedRecord {
    /// Content of the requirements file.
    requirements: String,
    /// The interpreter that was asked for, as it was asked for.
    pub(super) python: Option<PathBuf>,
}

impl NamedRecord {
    /// Reads and checks a requirements file.
    pub(super) fn read(file: &Path, python: Option<PathBuf>) -> Result<(Self, Requirements), EnvironmentError> {
        let failed = |source| EnvironmentError::filesystem("read", file, source);
        let mut text = String::new();
        let source = fs_err::File::open(file).map_err(failed)?;
        source.take(MAX_LENGTH + 1).read_to_string(&mut text).map_err(failed)?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_LENGTH {
            return Err(EnvironmentError::RequirementsTooLong { path: file.to_owned(), limit: MAX_LENGTH });
        }
        let record = Self { requirements: text, python };
        let requirements = record.requirements()?;
        Ok((record, requirements))
    }

    /// The stored record of an environment.
    pub(super) fn load(cache: &Cache, name: &str) -> Result<Self, EnvironmentError> {
        read_json(&cache.of_name(name).join(RECORD))?
            .ok_or_else(|| EnvironmentError::UnknownEnvironment { name: name.to_owned() })
    }

    pub(super) fn store(&self, cache: &Cache, name: &str) -> Result<(), EnvironmentError> {
        write_json(&cache.of_name(name).join(RECORD), self)
    }

    pub(super) fn requirements(&self) -> Result<Requirements, EnvironmentError> {
        Requirements::parse(self.requirements.clone())
    }
}

/// A ready environment, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentSummary {
    /// Name the user gave it; `default` for the one that comes with the sandbox.
    pub name: String,
    /// Content key; one name has several while several interpreters are in use.
    pub key: String,
    /// Version of the interpreter.
    pub python: PythonVersion,
    /// What is installed in it.
    pub packages: Vec<InstalledPackage>,
    /// Bytes that it takes on disk.
    pub size: u64,
    /// When it was prepared.
    pub prepared_at: SystemTime,
    /// Its directory.
    pub path: PathBuf,
}

/// Every ready environment in the cache, by name and key.
pub(super) fn summaries(cache: &Cache) -> Result<Vec<EnvironmentSummary>, EnvironmentError> {
    let mut summaries = Vec::new();
    for directory in list_directory(&cache.environments())? {
        let Some(name) = directory.file_name().and_then(|name| name.to_str()) else { continue };
        if !is_name(name) {
            continue;
        }
        for (key, path) in cache.entries(name)?.states {
            let manifest = path.join(MANIFEST);
            let Some(environment) = read_json::<PythonEnvironment>(&manifest)? else { continue };
            // The packages are never changed after they were installed; the manifest may be.
            let prepared_at = fs_err::metadata(&environment.packages)
                .and_then(|metadata| metadata.modified())
                .map_err(|source| EnvironmentError::filesystem("read", &environment.packages, source))?;
            summaries.push(EnvironmentSummary {
                name: name.to_owned(),
                key,
                python: environment.python,
                packages: environment.installed,
                size: size_on_disk(&path)?,
                prepared_at,
                path,
            });
        }
    }
    Ok(summaries)
}

/// Checks a name that a user gave to an environment of their own.
pub(super) fn check_own_name(name: &str) -> Result<(), EnvironmentError> {
    if is_name(name) && name != DEFAULT_ENVIRONMENT { Ok(()) } else { Err(invalid(name)) }
}

/// Checks a name that becomes part of a path.
pub(super) fn check_name(name: &str) -> Result<(), EnvironmentError> {
    if is_name(name) { Ok(()) } else { Err(invalid(name)) }
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_LENGTH
        && name.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
}

fn invalid(name: &str) -> EnvironmentError {
    EnvironmentError::InvalidName { name: name.chars().take(MAX_NAME_LENGTH).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_cache() {
        for name in ["a", "data-science_2.1", "0", &"x".repeat(64)] {
            assert!(check_own_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "-x", "ä", "a b", &"x".repeat(65), DEFAULT_ENVIRONMENT] {
            assert!(check_own_name(name).is_err(), "{name}");
        }
        assert!(check_name(DEFAULT_ENVIRONMENT).is_ok());
    }
}
