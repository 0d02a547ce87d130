//! Where tests find what they test, and how slow the host is.
//!
//! Cargo's own folders; or, where no cargo is (in the guest of `cargo xtask vm-test`), the folder `SANDBOX_TEST_ROOT`
//! with the binary `aevatar-sandbox`, the example `embed`, the folder `corpus`, a `cache` with the default environment
//! that every user can read, and `scratch` for the tests' files.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// `in_root` below `SANDBOX_TEST_ROOT`, if there is one.
fn carried(in_root: &str) -> Option<PathBuf> {
    std::env::var_os("SANDBOX_TEST_ROOT").map(|root| Path::new(&root).join(in_root))
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    carried("aevatar-sandbox").unwrap_or_else(|| env!("CARGO_BIN_EXE_aevatar-sandbox").into())
}

/// The example that embeds the library.
pub(crate) fn example() -> PathBuf {
    carried("embed").unwrap_or_else(|| binary().with_file_name("examples").join("embed"))
}

/// The two corpora.
pub(crate) fn corpus() -> PathBuf {
    carried("corpus").unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus"))
}

/// A cache with the default environment for users of the tests' own, where they could not make it.
pub(crate) fn prepared_cache() -> Option<PathBuf> {
    carried("cache")
}

/// A folder on a disk, and on the file system of the binary.
pub(crate) fn scratch() -> PathBuf {
    carried("scratch").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into())
}

/// `SANDBOX_TEST_SLOWNESS`: how many times slower than a usual machine this one is; 1 when it is not set.
pub(crate) fn slowness() -> u32 {
    let Ok(text) = std::env::var("SANDBOX_TEST_SLOWNESS") else { return 1 };
    match text.parse() {
        Ok(factor @ 1..=100) => factor,
        _ => panic!("SANDBOX_TEST_SLOWNESS is {text:?}, and should be a whole number from 1 to 100"),
    }
}

/// Settings for `aevatar-sandbox run`: on a slow host, more time for programs that name no limit.
pub(crate) fn settings() -> Vec<(&'static str, String)> {
    let seconds = (30 * slowness()).to_string();
    match slowness() {
        1 => Vec::new(),
        // The default may not be above the maximum, which is 300.
        2..=10 => vec![("PythonSandbox__DefaultTimeout", seconds)],
        _ => vec![("PythonSandbox__DefaultTimeout", seconds.clone()), ("PythonSandbox__MaxTimeout", seconds)],
    }
}

/// How long to wait here for what takes at most `time` on a usual machine. Only the tests' patience is stretched, never
/// a limit that a test is about.
pub(crate) fn patience(time: Duration) -> Duration {
    time * slowness()
}
