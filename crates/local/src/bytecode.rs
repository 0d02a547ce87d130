//! The guest's files, compiled once for each interpreter: a sandbox would compile them at every start, because its root
//! is read-only. That takes a millisecond of the ten that CPython itself takes to start.
//!
//! What cannot be compiled or kept is no failure: then a sandbox compiles, as it would anyway.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use aevatar_sandbox_contract::PythonEnvironment;

/// Compiles what its arguments give.
const COMPILER: &str = include_str!("bytecode.py");

/// A file of the guest: its name, and its text.
pub(crate) type GuestFile = (&'static str, &'static str);

/// The `.pyc` file of each of `files`, in their order; nothing where they cannot be had. `site` is the folder where a
/// sandbox sees them, `cache` a private folder of this user.
pub(crate) fn compiled(
    environment: &PythonEnvironment,
    site: &Path,
    files: &[GuestFile],
    cache: &Path,
) -> Option<Vec<Vec<u8>>> {
    let path = cache.join(key(environment, site, files));
    if let Ok(kept) = std::fs::read(&path) {
        return parse(&kept, files.len());
    }
    // Before the interpreter is started: without a place to keep it, each start would pay for that.
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(cache);
    made.and_then(|()| std::fs::write(&draft, [])).ok()?;
    let output = compile(&environment.interpreter, site, files);
    let kept = output.and_then(|output| {
        std::fs::write(&draft, &output)?;
        std::fs::rename(&draft, &path)?;
        Ok(output)
    });
    if kept.is_err() {
        // It is empty or half, and its name is this process's own.
        drop(std::fs::remove_file(&draft));
    }
    parse(&kept.ok()?, files.len())
}

/// Of everything that the bytecode depends on. An interpreter that was replaced by another of the same version ignores
/// bytecode that is not its own.
fn key(environment: &PythonEnvironment, site: &Path, files: &[GuestFile]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (COMPILER, environment.python.to_string(), &environment.interpreter, site, files).hash(&mut hasher);
    format!("{:016x}", hasher.finish()).into()
}

fn compile(interpreter: &Path, site: &Path, files: &[GuestFile]) -> io::Result<Vec<u8>> {
    let mut command = Command::new(interpreter);
    command.args(["-I", "-S", "-c", COMPILER]);
    for (name, text) in files {
        command.arg(site.join(name)).arg(text);
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    if output.status.success() { Ok(output.stdout) } else { Err(io::Error::other(output.status.to_string())) }
}

/// `wanted` files, each behind its length.
fn parse(mut bytes: &[u8], wanted: usize) -> Option<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (file, rest) = rest.split_at_checked(length)?;
        files.push(file.to_vec());
        bytes = rest;
    }
    (bytes.is_empty() && files.len() == wanted).then_some(files)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use aevatar_sandbox_contract::PythonVersion;

    use super::*;
    use crate::plan::tests::environment;

    const FILES: [GuestFile; 2] = [("one.py", "import os\n"), ("two.py", "x = 1\n")];

    fn host_environment() -> PythonEnvironment {
        let python = Command::new("python3")
            .args(["-I", "-c", "import sys; print(sys.executable); print(*sys.version_info[:3])"])
            .output()
            .unwrap();
        let said = String::from_utf8(python.stdout).unwrap();
        let (interpreter, version) = said.trim().split_once('\n').unwrap();
        let version: Vec<u8> = version.split(' ').map(|part| part.parse().unwrap()).collect();
        let python = PythonVersion { major: version[0], minor: version[1], micro: version[2] };
        PythonEnvironment { interpreter: interpreter.into(), python, ..environment() }
    }

    #[test]
    fn files_are_compiled_once_and_load_without_their_source() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("guest");
        let environment = host_environment();
        let made = compiled(&environment, Path::new("/site"), &FILES, &cache).unwrap();
        assert_eq!(std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
        let kept: Vec<_> = std::fs::read_dir(&cache).unwrap().collect();
        assert_eq!(kept.len(), 1, "no draft is left");
        // What is kept is what counts.
        std::fs::write(kept[0].as_ref().unwrap().path(), [1, 0, 0, 0, 7, 0, 0, 0, 0]).unwrap();
        assert_eq!(compiled(&environment, Path::new("/site"), &FILES, &cache).unwrap(), [vec![7], vec![]]);
        let other = [("one.py", "import sys\n"), ("two.py", "x = 1\n")];
        assert_ne!(compiled(&environment, Path::new("/site"), &other, &cache).unwrap(), made);

        let pycache = folder.path().join("__pycache__");
        std::fs::create_dir(&pycache).unwrap();
        let tag = format!("cpython-{}{}", environment.python.major, environment.python.minor);
        std::fs::write(pycache.join(format!("two.{tag}.pyc")), &made[1]).unwrap();
        // The bytecode counts, not the text beside it.
        std::fs::write(folder.path().join("two.py"), "x = 2\n").unwrap();
        let script = "import sys; sys.path.insert(0, sys.argv[1]); import two; print(two.x)";
        let loaded =
            Command::new(&environment.interpreter).args(["-I", "-c", script]).arg(folder.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&loaded.stdout), "1\n");
    }

    #[test]
    fn without_an_interpreter_or_a_place_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let missing = PythonEnvironment { interpreter: "/nonexistent/python".into(), ..host_environment() };
        assert_eq!(compiled(&missing, Path::new("/site"), &FILES, folder.path()), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(compiled(&host_environment(), Path::new("/site"), &FILES, Path::new("/proc/guest")), None);
        let broken = [("one.py", "(\n")];
        assert_eq!(compiled(&host_environment(), Path::new("/site"), &broken, folder.path()), None);
    }

    #[test]
    fn what_is_kept_is_read_whole_or_not_at_all() {
        let bytes = [&[1, 0, 0, 0, 7][..], &[0, 0, 0, 0]].concat();
        assert_eq!(parse(&bytes, 2), Some(vec![vec![7], vec![]]));
        for (bytes, wanted) in [(&bytes[..], 1), (&bytes[..6], 2), (&bytes[..3], 0), (&[9, 0, 0, 0][..], 1)] {
            assert_eq!(parse(bytes, wanted), None, "{bytes:?}");
        }
    }
}
