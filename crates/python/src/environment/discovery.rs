//! Finds an interpreter on `PATH`, and remembers what each one said about itself.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cache::{Cache, read_json, write_json};
use super::error::{ConsideredInterpreter, EnvironmentError, UnsuitableInterpreter};
use super::interpreter::{Description, FileIdentity, Interpreter};
use super::requirements::SUPPORTED_MINORS;

const INDEX: &str = "interpreters.json";
/// Interpreters that the index remembers; the oldest are forgotten first.
const MAX_INDEX_ENTRIES: usize = 64;

/// Looks for interpreters in the directories of a search path.
#[derive(Debug)]
pub(super) struct Discovery<'cache> {
    cache: &'cache Cache,
    search_path: OsString,
}

/// What is remembered of the interpreters that were run once.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    entries: Vec<IndexEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct IndexEntry {
    path: PathBuf,
    identity: FileIdentity,
    description: Description,
}

impl<'cache> Discovery<'cache> {
    pub(super) fn new(cache: &'cache Cache, search_path: OsString) -> Self {
        Self { cache, search_path }
    }

    /// The interpreter that was asked for, or else the first that fits: `python3`, then the newest supported minor.
    pub(super) fn find(&self, wanted: Option<&Path>) -> Result<Interpreter, EnvironmentError> {
        match wanted {
            Some(wanted) => self.named(wanted),
            None => self.first_suitable(),
        }
    }

    /// Every interpreter on the search path, supported or not: any of them may lend its pip.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        let newest_first = (8..=20).rev().map(|minor| format!("python3.{minor}"));
        self.candidates(std::iter::once("python3".to_owned()).chain(newest_first))
    }

    fn named(&self, wanted: &Path) -> Result<Interpreter, EnvironmentError> {
        let not_found = || EnvironmentError::PythonNotFound { requested: wanted.to_owned() };
        let path = if wanted.components().count() == 1 && !wanted.has_root() {
            let (binaries, scripts) = self.on_path(&wanted.to_string_lossy());
            binaries.into_iter().chain(scripts).next().ok_or_else(not_found)?
        } else {
            std::path::absolute(wanted).ok().filter(|path| path.is_file()).ok_or_else(not_found)?
        };
        Interpreter::new(&path, self.describe(&path)?)
    }

    fn first_suitable(&self) -> Result<Interpreter, EnvironmentError> {
        let newest_first = SUPPORTED_MINORS.iter().rev().map(|minor| format!("python3.{minor}"));
        let mut considered = Vec::new();
        for path in self.candidates(std::iter::once("python3".to_owned()).chain(newest_first)) {
            let reason = match self.describe(&path) {
                Ok(description) => match description.suitable() {
                    Ok(_) => return Interpreter::new(&path, description),
                    Err(reason) => reason,
                },
                Err(EnvironmentError::ProbeFailed { .. }) => UnsuitableInterpreter::Silent,
                Err(error) => return Err(error),
            };
            considered.push(ConsideredInterpreter { path, reason });
        }
        Err(EnvironmentError::NoPython { considered })
    }

    /// Programs first. A script that calls itself python (a pyenv shim) may start another interpreter tomorrow, or
    /// none in another directory: it is tried when nothing else fits.
    fn candidates(&self, names: impl Iterator<Item = String>) -> Vec<PathBuf> {
        let (binaries, scripts): (Vec<_>, Vec<_>) = names.map(|name| self.on_path(&name)).unzip();
        binaries.into_iter().flatten().chain(scripts.into_iter().flatten()).collect()
    }

    fn on_path(&self, name: &str) -> (Vec<PathBuf>, Vec<PathBuf>) {
        std::env::split_paths(&self.search_path)
            // A relative directory would make the choice depend on where the command was started.
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(name))
            .filter(|path| is_executable_file(path))
            .partition(|path| !is_script(path))
    }

    fn describe(&self, path: &Path) -> Result<Description, EnvironmentError> {
        let Some(identity) = FileIdentity::of(path) else {
            return Err(EnvironmentError::PythonNotFound { requested: path.to_owned() });
        };
        let index_path = self.cache.root().join(INDEX);
        let mut index: Index = read_json(&index_path)?.unwrap_or_default();
        let known = index.entries.iter().find(|entry| entry.path == path && entry.identity == identity);
        // What a script resolved to may be gone while the script itself is unchanged.
        if let Some(known) = known.filter(|entry| entry.description.executable.exists()) {
            return Ok(known.description.clone());
        }
        let description = Description::probe(path)
            .map_err(|source| EnvironmentError::ProbeFailed { path: path.to_owned(), source })?;
        index.entries.retain(|entry| entry.path != path);
        index.entries.push(IndexEntry { path: path.to_owned(), identity, description: description.clone() });
        let surplus = index.entries.len().saturating_sub(MAX_INDEX_ENTRIES);
        index.entries.drain(..surplus);
        write_json(&index_path, &index)?;
        Ok(description)
    }
}

fn is_executable_file(path: &Path) -> bool {
    fs_err::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    fs_err::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"#!"
}

#[cfg(test)]
mod tests {
    use super::super::tests::{probe_answer, write_script};
    use super::*;

    /// A directory with fake interpreters, a cache, and a count of how often one was started.
    struct Host {
        directory: tempfile::TempDir,
        cache: Cache,
    }

    impl Host {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let cache = Cache::new(directory.path().join("cache"));
            Self { directory, cache }
        }

        fn bin(&self, name: &str) -> PathBuf {
            let bin = self.directory.path().join(name);
            fs_err::create_dir_all(&bin).unwrap();
            bin
        }

        /// A script that answers the probe like CPython 3.`minor`.
        fn script(&self, bin: &str, name: &str, minor: u8) -> PathBuf {
            let path = self.bin(bin).join(name);
            let started = self.directory.path().join("started");
            let executable = self.bin(bin).join(format!("real-{minor}"));
            fs_err::write(&executable, "").unwrap();
            let answer = probe_answer(minor, 1, &executable);
            write_script(&path, &format!("echo x >> {}\ncat <<'END'\n{answer}\nEND\n", started.display()));
            path
        }

        fn discovery(&self, bins: &[&str]) -> Discovery<'_> {
            let search_path = std::env::join_paths(bins.iter().map(|bin| self.bin(bin))).unwrap();
            Discovery::new(&self.cache, search_path)
        }

        fn starts(&self) -> usize {
            fs_err::read_to_string(self.directory.path().join("started")).map_or(0, |text| text.lines().count())
        }
    }

    #[test]
    fn python3_comes_before_a_newer_minor() {
        let host = Host::new();
        host.script("bin", "python3", 11);
        host.script("bin", "python3.13", 13);
        assert_eq!(host.discovery(&["bin"]).find(None).unwrap().version.minor, 11);
    }

    #[test]
    fn the_newest_supported_minor_is_taken_when_python3_does_not_fit() {
        let host = Host::new();
        host.script("bin", "python3", 9);
        host.script("bin", "python3.11", 11);
        host.script("bin", "python3.12", 12);
        host.script("bin", "python3.14", 14);
        assert_eq!(host.discovery(&["bin"]).find(None).unwrap().version.minor, 12);
    }

    #[test]
    fn scripts_come_last() {
        let host = Host::new();
        host.script("shims", "python3", 11);
        let binary = host.bin("bin").join("python3.12");
        fs_err::copy(std::env::current_exe().unwrap(), &binary).unwrap();
        let candidates =
            host.discovery(&["shims", "bin"]).candidates(["python3", "python3.12"].map(str::to_owned).into_iter());
        assert_eq!(candidates, [binary, host.bin("shims").join("python3")]);
    }

    #[test]
    fn an_interpreter_is_started_once_until_it_changes() {
        let host = Host::new();
        let path = host.script("bin", "python3", 11);
        for _ in 0..3 {
            host.discovery(&["bin"]).find(None).unwrap();
        }
        assert_eq!(host.starts(), 1);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        drop(file);
        host.discovery(&["bin"]).find(None).unwrap();
        assert_eq!(host.starts(), 2);
    }

    #[test]
    fn an_explicit_choice_is_a_path_or_a_name() {
        let host = Host::new();
        host.script("bin", "python3", 11);
        let path = host.script("elsewhere", "python3.13", 13);
        let discovery = host.discovery(&["bin"]);
        assert_eq!(discovery.find(Some(&path)).unwrap().version.minor, 13);
        assert_eq!(discovery.find(Some(Path::new("python3"))).unwrap().version.minor, 11);
        for absent in ["python3.13", "/nowhere/python3"] {
            let error = discovery.find(Some(Path::new(absent))).unwrap_err();
            assert!(matches!(error, EnvironmentError::PythonNotFound { .. }));
        }
    }

    #[test]
    fn an_explicit_choice_that_does_not_fit_is_an_error() {
        let host = Host::new();
        let path = host.script("bin", "python3", 14);
        let error = host.discovery(&["bin"]).find(Some(&path)).unwrap_err();
        assert!(matches!(error, EnvironmentError::UnsuitablePython { reason: UnsuitableInterpreter::Version(_), .. }));
        assert!(error.to_string().contains("3.11, 3.12, 3.13"));
        assert!(error.hint().contains("--python"));
    }

    #[test]
    fn what_was_passed_over_is_told() {
        let host = Host::new();
        host.script("bin", "python3", 9);
        let silent = host.bin("bin").join("python3.12");
        write_script(&silent, "exit 1\n");
        let error = host.discovery(&["bin", "empty"]).find(None).unwrap_err();
        let EnvironmentError::NoPython { considered } = &error else { panic!("{error}") };
        assert_eq!(considered.len(), 2);
        assert!(error.to_string().contains("CPython 3.9.1"));
    }
}
