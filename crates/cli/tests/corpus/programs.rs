//! The programs of the two corpora, and their names as trials.

use std::path::{Path, PathBuf};

/// All programs below `folder`, in order. A corpus that cannot be read is a broken test, not an empty one.
pub(crate) fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display())).path();
        if path.is_dir() {
            found.extend(below(&path));
        } else if path.extension().is_some_and(|extension| extension == "py") {
            found.push(path);
        }
    }
    assert!(!found.is_empty(), "no programs in {}", folder.display());
    found.sort();
    found
}

/// `attacks/files/host_file.py` becomes `attack::files/host_file`.
pub(crate) fn name(corpus: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(corpus).unwrap_or(path).with_extension("");
    let relative = relative.to_string_lossy();
    match relative.strip_prefix("attacks/") {
        Some(name) => format!("attack::{name}"),
        None => format!("honest::{}", relative.trim_start_matches("honest/")),
    }
}
