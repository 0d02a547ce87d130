//! The Python environment of a sandbox, as plain data that a backend can turn into mounts or an image.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// A version of CPython.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PythonVersion {
    /// Major version: 3.
    pub major: u8,
    /// Minor version: 11 or later.
    pub minor: u8,
    /// Micro (patch) version.
    pub micro: u8,
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// One installed distribution of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InstalledPackage {
    /// Normalised distribution name (PEP 503), as in the lock: `scikit-learn`.
    pub name: String,
    /// Exact version: `1.9.0`.
    pub version: String,
}

/// A prepared environment on this host: everything that must be visible, read-only, inside a sandbox so that its
/// Python runs.
///
/// All paths are absolute and free of symlinks in their last component, unless said otherwise. It is written to the
/// environment's manifest when the environment is prepared, and read back on every later run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PythonEnvironment {
    /// Name the user gave it; `default` for the one with the seven packages.
    pub name: String,
    /// Content key: hex SHA-256 over lock, interpreter identity and layout version.
    pub key: String,
    /// Version of the interpreter.
    pub python: PythonVersion,
    /// The interpreter's executable, resolved: `/usr/bin/python3.11`.
    pub interpreter: PathBuf,
    /// Directories of the standard library (pure and platform), without site-packages: `/usr/lib/python3.11`.
    pub standard_library: Vec<PathBuf>,
    /// Directories below `standard_library` that must be hidden (the interpreter's own site-packages).
    pub hidden: Vec<PathBuf>,
    /// Shared libraries outside `standard_library` and `packages` that the interpreter, the standard library's
    /// extension modules and the packages load: the dynamic loader's own answer. Each pair is (path under which the
    /// loader looks it up, real file to show there). The dynamic loader itself is among them.
    pub libraries: Vec<(PathBuf, PathBuf)>,
    /// Whether the loader needs `/etc/ld.so.cache` to find one of `libraries` (it lies outside the default folders).
    pub needs_loader_cache: bool,
    /// Directory with the installed packages (`pip install --target`).
    pub packages: PathBuf,
    /// What is installed there.
    pub installed: Vec<InstalledPackage>,
    /// Read-only data of the host that programs expect: time zones, locales. Same path inside.
    pub data: Vec<PathBuf>,
    /// Font directories of the host, shown read-only at the same path.
    pub fonts: Vec<PathBuf>,
    /// Font families with CJK glyphs that exist in `fonts`, best first; fallbacks for matplotlib.
    pub font_fallbacks: Vec<String>,
    /// matplotlib's font list, made once for `fonts`: the file's name (it carries matplotlib's version) and path.
    pub font_list: Option<(String, PathBuf)>,
}

impl fmt::Display for PythonEnvironment {
    /// Name, version and the first digits of the key, as in a result.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.get(..12).unwrap_or(&self.key);
        write!(formatter, "{} (CPython {}, {key})", self.name, self.python)
    }
}
