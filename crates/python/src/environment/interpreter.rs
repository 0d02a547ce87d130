//! One CPython of the host: what it says about itself, whether it fits, and whether it is still the same file.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aevatar_sandbox_contract::PythonVersion;
use serde::{Deserialize, Serialize};

use super::error::{EnvironmentError, UnsuitableInterpreter};
use super::process::{self, RunFailure};
use super::requirements::SUPPORTED_MINORS;

const PROBE: &str = include_str!("probe.py");
/// A cold start from a slow disk takes a second or two; a program that merely looks like Python may never end.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_PROBE_ANSWER: usize = 64 << 10;

/// What an interpreter says about itself; the answer of `probe.py`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Description {
    implementation: String,
    version: (u8, u8, u8),
    free_threaded: bool,
    machine: String,
    glibc: Option<String>,
    /// The executable behind links, shims and virtual environments.
    pub(super) executable: PathBuf,
    pub(super) standard_library: Vec<PathBuf>,
    /// `lib-dynload`, wherever it is.
    pub(super) extension_modules: Vec<PathBuf>,
    pub(super) hidden: Vec<PathBuf>,
}

impl Description {
    /// Runs the interpreter once, without site-packages, and reads its answer.
    pub(super) fn probe(path: &Path) -> Result<Self, RunFailure> {
        let mut command = Command::new(path);
        command.args(["-I", "-S", "-c", PROBE]);
        let answer = process::run(&mut command, PROBE_TIMEOUT, MAX_PROBE_ANSWER)?.into_stdout()?;
        serde_json::from_slice(&answer).map_err(|error| RunFailure::Answer(error.to_string()))
    }

    /// The version, if it is one that the sandbox supports.
    pub(super) fn suitable(&self) -> Result<PythonVersion, UnsuitableInterpreter> {
        let (major, minor, micro) = self.version;
        let version = PythonVersion { major, minor, micro };
        if self.implementation != "cpython" {
            return Err(UnsuitableInterpreter::Implementation(self.implementation.clone()));
        }
        if major != 3 || !SUPPORTED_MINORS.contains(&minor) {
            return Err(UnsuitableInterpreter::Version(version));
        }
        if self.free_threaded {
            return Err(UnsuitableInterpreter::FreeThreaded);
        }
        if !matches!(self.machine.as_str(), "x86_64" | "aarch64") {
            return Err(UnsuitableInterpreter::Machine(self.machine.clone()));
        }
        if self.glibc.is_none() {
            return Err(UnsuitableInterpreter::Libc);
        }
        Ok(version)
    }
}

/// Tells a file from its replacement: an upgraded interpreter has another size or another modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileIdentity {
    size: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
}

impl FileIdentity {
    /// The identity of a regular file; links are followed.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs_err::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Self {
            size: metadata.size(),
            modified_seconds: metadata.mtime(),
            modified_nanoseconds: metadata.mtime_nsec(),
        })
    }
}

impl std::fmt::Display for FileIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}.{:09}", self.size, self.modified_seconds, self.modified_nanoseconds)
    }
}

/// A supported interpreter.
#[derive(Clone, Debug)]
pub(super) struct Interpreter {
    pub(super) version: PythonVersion,
    pub(super) description: Description,
    identity: FileIdentity,
}

impl Interpreter {
    /// The interpreter that `description` describes, found as `path`.
    pub(super) fn new(path: &Path, description: Description) -> Result<Self, EnvironmentError> {
        let version = description
            .suitable()
            .map_err(|reason| EnvironmentError::UnsuitablePython { path: path.to_owned(), reason })?;
        let identity = FileIdentity::of(&description.executable)
            .ok_or_else(|| EnvironmentError::PythonNotFound { requested: description.executable.clone() })?;
        Ok(Self { version, description, identity })
    }

    pub(super) fn executable(&self) -> &Path {
        &self.description.executable
    }

    /// Text that differs for every other interpreter, and for this one after an upgrade.
    pub(super) fn identity(&self) -> String {
        format!("{} {} {}", self.executable().display(), self.identity, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(change: impl FnOnce(&mut Description)) -> Result<PythonVersion, UnsuitableInterpreter> {
        let mut description = Description {
            implementation: "cpython".to_owned(),
            version: (3, 12, 4),
            free_threaded: false,
            machine: "x86_64".to_owned(),
            glibc: Some("glibc 2.36".to_owned()),
            executable: PathBuf::from("/usr/bin/python3.12"),
            standard_library: Vec::new(),
            extension_modules: Vec::new(),
            hidden: Vec::new(),
        };
        change(&mut description);
        description.suitable()
    }

    #[test]
    fn each_misfit_has_its_own_reason() {
        use UnsuitableInterpreter as Reason;
        let version = PythonVersion { major: 3, minor: 12, micro: 4 };
        assert_eq!(described(|_| ()), Ok(version));
        assert_eq!(
            described(|one| one.implementation = "pypy".to_owned()),
            Err(Reason::Implementation("pypy".to_owned()))
        );
        for (minor, micro) in [(10, 1), (14, 0)] {
            let other = PythonVersion { major: 3, minor, micro };
            assert_eq!(described(|one| one.version = (3, minor, micro)), Err(Reason::Version(other)));
        }
        assert_eq!(described(|one| one.free_threaded = true), Err(Reason::FreeThreaded));
        assert_eq!(described(|one| one.machine = "riscv64".to_owned()), Err(Reason::Machine("riscv64".to_owned())));
        assert_eq!(described(|one| one.glibc = None), Err(Reason::Libc));
    }

    #[test]
    fn another_modification_time_is_another_identity() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("python3");
        fs_err::write(&path, "1").unwrap();
        let before = FileIdentity::of(&path).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_ne!(FileIdentity::of(&path).unwrap(), before);
        assert_eq!(FileIdentity::of(directory.path()), None);
    }
}
