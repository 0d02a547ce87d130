//! Which shared libraries of the host an environment loads: the dynamic loader's own answer.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cache::walk;
use super::elf;
use super::error::EnvironmentError;
use super::process::{self, RunFailure};

const LIST_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_LIST_ANSWER: usize = 256 << 10;
/// Loader processes at a time.
const PARALLEL: usize = 2;
/// Loaded with dlopen, so in nobody's list: `pthread_cancel` needs the first, the resolver the others.
const BESIDE_LIBC: [&str; 3] = ["libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2"];

/// Libraries of the host that an environment needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HostLibraries {
    /// (path under which the loader looks it up, the real file), sorted.
    pub(super) pairs: Vec<(PathBuf, PathBuf)>,
    pub(super) needs_loader_cache: bool,
}

/// Asks the interpreter's loader for the libraries of `interpreter`, of the extension modules below
/// `extension_modules` and of everything below `packages`. Libraries that lie in one of `shown` are left out.
///
/// The loader only maps the files and reads their headers: no code of theirs runs.
pub(super) fn find(
    interpreter: &Path,
    extension_modules: &[PathBuf],
    packages: &Path,
    shown: &[PathBuf],
) -> Result<HostLibraries, EnvironmentError> {
    let loader = elf::dynamic_loader(interpreter)
        .map_err(|source| EnvironmentError::filesystem("read", interpreter, source))?
        .ok_or_else(|| EnvironmentError::Libraries {
            path: interpreter.to_owned(),
            source: RunFailure::Answer("the program is linked statically and cannot load extension modules".to_owned()),
        })?;
    let mut files = BTreeSet::from([interpreter.to_owned()]);
    for directory in extension_modules.iter().map(PathBuf::as_path).chain([packages]) {
        walk(directory, &mut |path, metadata| {
            if metadata.is_file() && is_shared_object_name(path) && elf::is_elf(path) {
                files.insert(path.to_owned());
            }
            Ok(())
        })?;
    }
    let files: Vec<_> = files.into_iter().collect();

    let mut listing = list_all(&loader, &files, Lookup::WithoutCache)?;
    let incomplete: Vec<_> = listing.incomplete.iter().cloned().collect();
    let with_cache = list_all(&loader, &incomplete, Lookup::WithCache)?;
    let needs_loader_cache = with_cache.found.iter().any(|path| !listing.found.contains(path));
    listing.found.extend(with_cache.found);
    listing.found.insert(loader);
    add_dlopened(&mut listing.found);

    let shown: Vec<_> = shown.iter().map(|directory| real_path(directory)).chain([real_path(packages)]).collect();
    let pairs: BTreeMap<_, _> = listing
        .found
        .iter()
        .map(|path| (without_parent_components(path), real_path(path)))
        .filter(|(_, real)| !shown.iter().any(|directory| real.starts_with(directory)))
        .collect();
    Ok(HostLibraries { pairs: pairs.into_iter().collect(), needs_loader_cache })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lookup {
    WithCache,
    WithoutCache,
}

#[derive(Debug, Default)]
struct Listing {
    found: BTreeSet<PathBuf>,
    /// Files that need a library which was not found.
    incomplete: BTreeSet<PathBuf>,
}

fn list_all(loader: &Path, files: &[PathBuf], lookup: Lookup) -> Result<Listing, EnvironmentError> {
    let part = files.len().div_ceil(PARALLEL).max(1);
    let parts: Vec<Result<Listing, EnvironmentError>> = std::thread::scope(|scope| {
        let running: Vec<_> =
            files.chunks(part).map(|files| scope.spawn(move || list_in_turn(loader, files, lookup))).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let mut all = Listing::default();
    for part in parts {
        let part = part?;
        all.found.extend(part.found);
        all.incomplete.extend(part.incomplete);
    }
    Ok(all)
}

fn list_in_turn(loader: &Path, files: &[PathBuf], lookup: Lookup) -> Result<Listing, EnvironmentError> {
    let mut listing = Listing::default();
    for file in files {
        let mut command = Command::new(loader);
        if lookup == Lookup::WithoutCache {
            command.arg("--inhibit-cache");
        }
        // The environment could name other libraries (LD_LIBRARY_PATH, LD_PRELOAD) that a sandbox will not load.
        command.arg("--list").arg(file).env_clear();
        let failed = |source| EnvironmentError::Libraries { path: file.clone(), source };
        let answer = process::run(&mut command, LIST_TIMEOUT, MAX_LIST_ANSWER).map_err(failed)?;
        let (found, complete) = parse_list(&answer.stdout);
        if found.is_empty() && !complete && !answer.status.success() {
            return Err(failed(answer.into_stdout().err().unwrap_or(RunFailure::Answer(String::new()))));
        }
        listing.found.extend(found);
        if !complete {
            listing.incomplete.insert(file.clone());
        }
    }
    Ok(listing)
}

/// Paths in the loader's answer, and whether it found everything.
///
/// ```text
/// \tlinux-vdso.so.1 (0x00007ffd)
/// \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f01)
/// \tlibtk8.6.so => not found
/// \t/lib64/ld-linux-x86-64.so.2 (0x00007f02)
/// ```
fn parse_list(answer: &[u8]) -> (BTreeSet<PathBuf>, bool) {
    let mut found = BTreeSet::new();
    let mut complete = true;
    for line in answer.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let line = line.trim();
        let target = line.split_once(" => ").map_or(line, |(_, target)| target);
        if target == "not found" {
            complete = false;
        }
        let path = target.rsplit_once(" (0x").map_or(target, |(path, _)| path);
        if path.starts_with('/') {
            found.insert(PathBuf::from(path));
        }
    }
    (found, complete)
}

fn add_dlopened(found: &mut BTreeSet<PathBuf>) {
    let libc = found.iter().find(|path| path.file_name() == Some(OsStr::new("libc.so.6")));
    if let Some(directory) = libc.and_then(|libc| libc.parent()).map(Path::to_owned) {
        found.extend(BESIDE_LIBC.iter().map(|name| directory.join(name)).filter(|path| path.exists()));
    }
}

/// `module.so`, `libm.so.6`.
fn is_shared_object_name(path: &Path) -> bool {
    let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}

/// `$ORIGIN/../lib` leaves a `..` in the loader's answer; a mount point must not have one.
fn without_parent_components(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

fn real_path(path: &Path) -> PathBuf {
    fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_answer_is_read() {
        let answer = b"\tlinux-vdso.so.1 (0x00007ffd5)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)\n\
            \tlibx.so => /opt/with space (0x1)/libx.so (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let (found, complete) = parse_list(answer);
        let expected =
            ["/lib/x86_64-linux-gnu/libm.so.6", "/opt/with space (0x1)/libx.so", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, expected.map(PathBuf::from).into());
        assert!(complete);
        assert!(!parse_list(b"\tlibtk8.6.so => not found\n").1);
        assert_eq!(parse_list(b"\tstatically linked\n"), (BTreeSet::new(), true));
    }

    #[test]
    fn shared_objects_are_known_by_name() {
        for (name, expected) in
            [("a.so", true), ("_a.cpython-311-x86_64-linux-gnu.so", true), ("liba.so.3.1", true), ("a.sound", false)]
        {
            assert_eq!(is_shared_object_name(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn parent_components_go_away() {
        assert_eq!(without_parent_components(Path::new("/a/bin/../lib/x.so")), Path::new("/a/lib/x.so"));
    }

    #[test]
    fn the_test_program_needs_libc_and_a_loader() {
        let program = std::env::current_exe().unwrap();
        if elf::dynamic_loader(&program).unwrap().is_none() {
            return;
        }
        let empty = tempfile::tempdir().unwrap();
        let libraries = find(&program, &[], empty.path(), &[]).unwrap();
        assert!(libraries.pairs.iter().any(|(path, _)| path.ends_with("libc.so.6")));
        assert!(libraries.pairs.iter().any(|(path, _)| path.to_string_lossy().contains("/ld-")));
        assert!(libraries.pairs.iter().all(|(_, real)| real.is_file()));
    }
}
