use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use aevatar_sandbox_contract::PythonVersion;

use super::process::RunFailure;
use super::requirements::SUPPORTED_MINORS;

/// Why an environment could not be prepared, listed or removed.
///
/// The message says what failed and on what; [`EnvironmentError::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// No environment variable names a place for the cache.
    #[error("there is no cache directory: none of AEVATAR_SANDBOX_CACHE, XDG_CACHE_HOME and HOME is set")]
    NoCacheDirectory,

    /// A file operation in the cache or on an interpreter failed.
    #[error("cannot {operation} {}", path.display())]
    Filesystem {
        /// The operation, as a verb: `create`, `read`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },

    /// No suitable interpreter is on `PATH`.
    #[error("no CPython {} was found on PATH{}", supported_minors(), considered_list(considered))]
    NoPython {
        /// Interpreters that were found and passed over.
        considered: Vec<ConsideredInterpreter>,
    },

    /// The interpreter that was asked for does not exist.
    #[error("there is no Python interpreter {}", requested.display())]
    PythonNotFound {
        /// As it was asked for: a path or a name.
        requested: PathBuf,
    },

    /// The interpreter that was asked for cannot be used.
    #[error("{} cannot be used: {reason}", path.display())]
    UnsuitablePython {
        /// The interpreter.
        path: PathBuf,
        /// What is wrong with it.
        reason: UnsuitableInterpreter,
    },

    /// The interpreter could not be started or did not describe itself.
    #[error("{} could not be asked for its version", path.display())]
    ProbeFailed {
        /// The interpreter.
        path: PathBuf,
        /// What happened instead.
        #[source]
        source: RunFailure,
    },

    /// Neither the interpreter nor another one on `PATH` has a pip that can install for it.
    #[error("{} (CPython {version}) has no pip, and no other Python on PATH has one for it", python.display())]
    NoPip {
        /// The interpreter.
        python: PathBuf,
        /// Its version.
        version: PythonVersion,
    },

    /// pip could not be started or watched.
    #[error("cannot run pip with {}", python.display())]
    RunPip {
        /// The interpreter that runs pip.
        python: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },

    /// The file system of the cache is full, or would be.
    #[error("not enough disk space for the Python environment in {}{}", path.display(), space(*needed, *available))]
    NoSpace {
        /// A directory on the file system in question.
        path: PathBuf,
        /// Bytes that the environment needs, where known beforehand.
        needed: Option<u64>,
        /// Bytes that were free, where looked up beforehand.
        available: Option<u64>,
    },

    /// The package index did not answer.
    #[error("the package index cannot be reached: {detail}")]
    IndexUnreachable {
        /// pip's own line about it.
        detail: String,
    },

    /// A downloaded file is not the one that the lock or the requirements file names.
    #[error("{requirement}: the downloaded file does not have the expected hash")]
    HashMismatch {
        /// The requirement, with its version.
        requirement: String,
    },

    /// The index has no wheel for a requirement that fits the interpreter.
    #[error("the package index has no wheel of {requirement} for CPython {python} on this machine")]
    NoMatchingDistribution {
        /// The requirement, as pip names it.
        requirement: String,
        /// Version of the interpreter.
        python: PythonVersion,
    },

    /// The requirements exclude each other.
    #[error("the requirements cannot be met together:\n{output}")]
    ConflictingRequirements {
        /// pip's explanation, its last lines.
        output: String,
    },

    /// pip failed for a reason that has no variant of its own.
    #[error("pip failed ({status}):\n{output}")]
    PipFailed {
        /// How pip ended: `exit status: 1`.
        status: String,
        /// The last lines of pip's standard error.
        output: String,
    },

    /// A name that cannot be the name of an environment.
    #[error("`{name}` cannot be the name of an environment")]
    InvalidName {
        /// The name.
        name: String,
    },

    /// No environment has this name.
    #[error("there is no environment `{name}`")]
    UnknownEnvironment {
        /// The name.
        name: String,
    },

    /// A requirements file is longer than the largest that is accepted.
    #[error("{} is longer than {limit} bytes", path.display())]
    RequirementsTooLong {
        /// The file.
        path: PathBuf,
        /// The largest accepted length, in bytes.
        limit: u64,
    },

    /// A line of a requirements file would run foreign code on the host, or depends on files beside it.
    #[error("line {line} of the requirements is not accepted: `{text}`")]
    UnsupportedRequirement {
        /// Number of the line, from 1.
        line: usize,
        /// The line.
        text: String,
    },

    /// The shared libraries of the interpreter could not be found out.
    #[error("the dynamic loader did not list the libraries of {}", path.display())]
    Libraries {
        /// The file whose libraries were asked for.
        path: PathBuf,
        /// What happened instead.
        #[source]
        source: RunFailure,
    },
}

impl EnvironmentError {
    /// The same error; a lack of space is told of `path` rather than of a file below it.
    pub(super) fn with_space_of(self, path: &Path) -> Self {
        match self {
            Self::NoSpace { needed, available, .. } => Self::NoSpace { path: path.to_owned(), needed, available },
            other => other,
        }
    }

    pub(super) fn filesystem(operation: &'static str, path: &Path, source: io::Error) -> Self {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::NoSpace { path: path.to_owned(), needed: None, available: None };
        }
        Self::Filesystem { operation, path: path.to_owned(), source }
    }

    /// What the user can do about it, as one or two sentences.
    pub fn hint(&self) -> String {
        let supported = supported_minors();
        match self {
            Self::NoCacheDirectory => "Set AEVATAR_SANDBOX_CACHE to a directory that can be written.".to_owned(),
            Self::Filesystem { .. } => {
                "Check the owner and the permissions of it, or set AEVATAR_SANDBOX_CACHE to another directory."
                    .to_owned()
            }
            Self::NoPython { .. } => format!(
                "Install one (Debian, Ubuntu: `apt install python3 python3-pip`; Fedora: `dnf install python3 \
                 python3-pip`), or name a CPython {supported} with --python."
            ),
            Self::PythonNotFound { .. } => {
                format!("Give --python the path of a CPython {supported}, or its name on PATH such as `python3.12`.")
            }
            Self::UnsuitablePython { .. } | Self::ProbeFailed { .. } => {
                format!("Name a CPython {supported} with --python.")
            }
            Self::NoPip { python, .. } => format!(
                "Install pip (Debian, Ubuntu: `apt install python3-pip`; Fedora: `dnf install python3-pip`; \
                 elsewhere: `{} -m ensurepip --user`).",
                python.display()
            ),
            Self::RunPip { python, .. } => format!("Check that `{} -m pip --version` works.", python.display()),
            Self::NoSpace { .. } => {
                "Free some space, or set AEVATAR_SANDBOX_CACHE to a directory on a larger file system.".to_owned()
            }
            Self::IndexUnreachable { .. } => {
                "The first preparation needs the network; later ones do not. Check the connection, or tell pip about \
                 a proxy or a mirror (HTTPS_PROXY, `pip config set global.index-url URL`)."
                    .to_owned()
            }
            Self::HashMismatch { .. } => {
                "The index, a mirror or a proxy delivered another file. Try again without it (`pip cache purge`, \
                 another index-url); if it stays, do not install that file."
                    .to_owned()
            }
            Self::NoMatchingDistribution { .. } => format!(
                "Check name and version; only wheels are installed, and a mirror may lack them. Another CPython \
                 ({supported}) may be chosen with --python."
            ),
            Self::ConflictingRequirements { .. } => "Loosen the versions in the requirements file.".to_owned(),
            Self::PipFailed { .. } => "pip's own message above says more.".to_owned(),
            Self::InvalidName { .. } => {
                "A name has 1 to 64 ASCII letters, digits, `-`, `_` or `.`, starts with a letter or a digit, and is \
                 not `default`."
                    .to_owned()
            }
            Self::UnknownEnvironment { name } => {
                format!("Create `{name}` from a requirements file first, or use the default environment.")
            }
            Self::RequirementsTooLong { .. } => "Name the packages only; pip finds their dependencies.".to_owned(),
            Self::UnsupportedRequirement { .. } => {
                "Use `name==version` lines, `--hash` and index options. Paths, URLs, `-e`, `-r`, `-c` and source \
                 distributions are not installed: building one runs foreign code on this host."
                    .to_owned()
            }
            Self::Libraries { .. } => {
                "Check that the interpreter starts; one built for another libc or machine cannot be used.".to_owned()
            }
        }
    }
}

/// An interpreter that was found on `PATH` and passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsideredInterpreter {
    /// Where it was found.
    pub path: PathBuf,
    /// Why it was passed over.
    pub reason: UnsuitableInterpreter,
}

/// Why an interpreter cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsuitableInterpreter {
    /// Not CPython; the text is the implementation's name for itself.
    Implementation(String),
    /// A CPython version without a lock.
    Version(PythonVersion),
    /// A build without the global interpreter lock.
    FreeThreaded,
    /// Not for `x86_64` or `aarch64`.
    Machine(String),
    /// Built for another C library than glibc: there are no wheels in the lock for it.
    Libc,
    /// Could not be started, or did not describe itself.
    Silent,
}

impl fmt::Display for UnsuitableInterpreter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Implementation(name) => write!(formatter, "it is {name}, not CPython"),
            Self::Version(version) => {
                write!(formatter, "it is CPython {version}; supported are {}", supported_minors())
            }
            Self::FreeThreaded => formatter.write_str("it is a free-threaded build"),
            Self::Machine(machine) => write!(formatter, "it is built for {machine}, not for x86_64 or aarch64"),
            Self::Libc => formatter.write_str("it is not built for glibc"),
            Self::Silent => formatter.write_str("it did not say its version"),
        }
    }
}

fn supported_minors() -> String {
    let minors: Vec<_> = SUPPORTED_MINORS.iter().map(|minor| format!("3.{minor}")).collect();
    minors.join(", ")
}

fn considered_list(considered: &[ConsideredInterpreter]) -> String {
    let seen: Vec<_> = considered.iter().map(|one| format!("{}: {}", one.path.display(), one.reason)).collect();
    if seen.is_empty() { String::new() } else { format!(" ({})", seen.join("; ")) }
}

fn space(needed: Option<u64>, available: Option<u64>) -> String {
    match (needed, available) {
        (Some(needed), Some(available)) => {
            format!(": {} MiB needed, {} MiB free", needed >> 20, available >> 20)
        }
        _ => String::new(),
    }
}
