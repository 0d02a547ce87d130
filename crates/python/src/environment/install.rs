//! Installs packages into a directory with pip.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use aevatar_sandbox_contract::InstalledPackage;

use super::cache::{create_directory, free_space, list_directory, walk};
use super::error::EnvironmentError;
use super::interpreter::Interpreter;
use super::pip::Pip;
use super::progress::{PrepareProgress, PrepareStep};
use super::requirements::{Requirements, normalise};
use super::{pip_failure, process};

/// What the default environment takes while it is installed: the unpacked packages and the wheels they come from.
const SPACE_FOR_DEFAULT: u64 = 700 << 20;
/// Less than this is not worth an attempt.
const SPACE_FOR_ANY: u64 = 64 << 20;
/// End of pip's standard error that is kept, in bytes.
const KEPT_STDERR: usize = 64 << 10;
/// Longest line of pip's standard output that is looked at, in bytes.
const MAX_LINE: u64 = 8 << 10;
const COMPILE_TIMEOUT: Duration = Duration::from_mins(10);

/// One installation.
#[derive(Debug)]
pub(super) struct InstallJob<'job> {
    pub(super) interpreter: &'job Interpreter,
    pub(super) requirements: &'job Requirements,
    /// Where the packages go; does not exist yet.
    pub(super) target: &'job Path,
    /// A directory for the requirements file and temporary files, on the file system of `target`.
    pub(super) scratch: &'job Path,
    /// Interpreters whose pip may be used if the chosen one has none.
    pub(super) others: &'job [PathBuf],
}

/// Installs packages. A trait so that tests of the manager need no network.
pub(super) trait Installer: Debug + Send + Sync {
    fn install(&self, job: &InstallJob<'_>, progress: &dyn PrepareProgress) -> Result<(), EnvironmentError>;
}

/// Installs with pip, from wheels only.
#[derive(Debug)]
pub(super) struct PipInstaller;

impl Installer for PipInstaller {
    fn install(&self, job: &InstallJob<'_>, progress: &dyn PrepareProgress) -> Result<(), EnvironmentError> {
        let needed = if job.requirements.is_locked() { SPACE_FOR_DEFAULT } else { SPACE_FOR_ANY };
        let available = free_space(job.scratch)?;
        if available < needed {
            let path = job.scratch.parent().unwrap_or(job.scratch).to_owned();
            return Err(EnvironmentError::NoSpace { path, needed: Some(needed), available: Some(available) });
        }
        let pip = Pip::find(job.interpreter, job.others)?;
        progress.step(PrepareStep::Downloading);
        let mut command = pip_install(&pip, job)?;
        let (status, stderr) = watch(&mut command, job.requirements.distribution_count(), progress)
            .map_err(|source| EnvironmentError::RunPip { python: pip.runner.clone(), source })?;
        if !status.success() {
            let version = job.interpreter.version;
            return Err(pip_failure::classify(&stderr, &status.to_string(), job.scratch, version));
        }
        ensure_compiled(job)
    }
}

fn pip_install(pip: &Pip, job: &InstallJob<'_>) -> Result<Command, EnvironmentError> {
    let file = job.scratch.join("requirements.txt");
    fs_err::write(&file, job.requirements.text())
        .map_err(|source| EnvironmentError::filesystem("write", &file, source))?;
    let temporary = job.scratch.join("tmp");
    create_directory(&temporary)?;

    let mut command = pip.command();
    command
        .arg("install")
        .args(["--no-input", "--progress-bar", "off", "--no-warn-script-location", "--compile"])
        .args(["--only-binary", ":all:"])
        .arg("--target")
        .arg(job.target)
        .arg("--requirement")
        .arg(&file)
        // pip unpacks into its temporary directory first: on the same file system, the move is a rename.
        .env("TMPDIR", &temporary)
        // An empty directory: `-m` imports from it, and pip would take a file in it for a requirement.
        .current_dir(&temporary);
    if job.requirements.is_locked() {
        command.arg("--no-deps");
    }
    if job.requirements.is_locked() || job.requirements.has_hashes() {
        command.arg("--require-hashes");
    }
    Ok(command)
}

/// Runs pip, follows its standard output, and returns the end of its standard error.
fn watch(
    command: &mut Command,
    total: Option<usize>,
    progress: &dyn PrepareProgress,
) -> io::Result<(ExitStatus, String)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take();
    let tail = std::thread::spawn(move || stderr.map(|pipe| keep_end(pipe, KEPT_STDERR)).unwrap_or_default());
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut done = 0;
        let mut line = Vec::new();
        while stdout.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
            match Announcement::parse(&String::from_utf8_lossy(&line)) {
                Some(Announcement::Collecting(name)) => {
                    progress.package(done, total, name);
                    done += 1;
                }
                Some(Announcement::Installing) => progress.step(PrepareStep::Installing),
                None => {}
            }
            line.clear();
        }
    }
    let status = child.wait()?;
    let tail = tail.join().unwrap_or_default();
    Ok((status, String::from_utf8_lossy(&tail).into_owned()))
}

/// A line of pip's standard output that tells how far it is.
#[derive(Debug, PartialEq, Eq)]
enum Announcement<'line> {
    Collecting(&'line str),
    Installing,
}

impl<'line> Announcement<'line> {
    fn parse(line: &'line str) -> Option<Self> {
        if let Some(requirement) = line.strip_prefix("Collecting ") {
            let end = requirement.find(|letter: char| !letter.is_ascii_alphanumeric() && !"._-".contains(letter));
            return Some(Self::Collecting(&requirement[..end.unwrap_or(requirement.len())]));
        }
        line.starts_with("Installing collected packages").then_some(Self::Installing)
    }
}

fn keep_end(mut pipe: impl Read, limit: usize) -> Vec<u8> {
    let mut kept = VecDeque::new();
    let mut chunk = [0; 4096];
    // An error ends the output as its end does: what was read until then is what there is.
    while let Ok(length @ 1..) = pipe.read(&mut chunk) {
        kept.extend(&chunk[..length]);
        let surplus = kept.len().saturating_sub(limit);
        kept.drain(..surplus);
    }
    kept.into()
}

/// A sandbox cannot write next to the modules: what is not compiled now is compiled again in each of them.
fn ensure_compiled(job: &InstallJob<'_>) -> Result<(), EnvironmentError> {
    let (mut sources, mut compiled) = (0_usize, 0_usize);
    walk(job.target, &mut |path, _| {
        sources += usize::from(path.extension() == Some(OsStr::new("py")));
        compiled += usize::from(path.extension() == Some(OsStr::new("pyc")));
        Ok(())
    })?;
    // Some packages carry templates that are no valid source, so the counts are never quite the same.
    if compiled * 2 >= sources {
        return Ok(());
    }
    let mut command = Command::new(job.interpreter.executable());
    command.args(["-I", "-m", "compileall", "-q"]).arg(job.target);
    // Its exit code tells of the templates only.
    process::run(&mut command, COMPILE_TIMEOUT, MAX_LINE.try_into().unwrap_or(usize::MAX))
        .map_err(|source| EnvironmentError::ProbeFailed { path: job.interpreter.executable().to_owned(), source })?;
    Ok(())
}

/// What is installed in a directory, by its `NAME-VERSION.dist-info` directories.
pub(super) fn installed(packages: &Path) -> Result<Vec<InstalledPackage>, EnvironmentError> {
    let mut found: Vec<_> = list_directory(packages)?
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.strip_suffix(".dist-info")?.rsplit_once('-'))
        .map(|(name, version)| InstalledPackage { name: normalise(name), version: version.to_owned() })
        .collect();
    found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_lines_are_understood() {
        for (line, expected) in [
            ("Collecting numpy==2.4.6 (from -r x.txt (line 1))\n", Some(Announcement::Collecting("numpy"))),
            ("Collecting typing_extensions\n", Some(Announcement::Collecting("typing_extensions"))),
            ("Installing collected packages: numpy, pandas\n", Some(Announcement::Installing)),
            ("  Downloading numpy-2.4.6-cp311.whl (16.9 MB)\n", None),
            ("", None),
        ] {
            assert_eq!(Announcement::parse(line), expected);
        }
    }

    #[test]
    fn only_the_end_of_the_error_output_is_kept() {
        let output = [b"x".repeat(100_000), b"the end".to_vec()].concat();
        let kept = keep_end(&output[..], 1000);
        assert_eq!(kept.len(), 1000);
        assert!(kept.ends_with(b"the end"));
    }

    #[test]
    fn installed_distributions_are_read_from_their_directories() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["scikit_learn-1.9.1.dist-info", "numpy-2.4.6.dist-info", "numpy", "numpy.libs"] {
            fs_err::create_dir(directory.path().join(name)).unwrap();
        }
        let found: Vec<_> =
            installed(directory.path()).unwrap().into_iter().map(|one| (one.name, one.version)).collect();
        let expected = [("numpy", "2.4.6"), ("scikit-learn", "1.9.1")];
        assert_eq!(found, expected.map(|(name, version)| (name.to_owned(), version.to_owned())));
    }
}
