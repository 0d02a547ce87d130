//! The manager with a fake interpreter and a fake installer: no network, no pip.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::install::{InstallJob, Installer};
use super::interpreter::Interpreter;
use super::{
    EnvironmentError, EnvironmentSelection, NoProgress, PrepareProgress, PythonEnvironmentManager, requirements,
};

/// Writes a shell script that can be executed at once.
///
/// Another process writes it: a file that this one has open for writing, or that a child it is just starting has
/// inherited from it, cannot be executed (`ETXTBSY`), and other tests start children at any time.
pub(super) fn write_script(path: &Path, body: &str) {
    let text = path.with_extension("text");
    fs_err::write(&text, format!("#!/bin/sh\n{body}")).unwrap();
    fs_err::set_permissions(&text, std::fs::Permissions::from_mode(0o755)).unwrap();
    let copied = std::process::Command::new("cp").arg("-p").arg(&text).arg(path).status().unwrap();
    assert!(copied.success());
    fs_err::remove_file(&text).unwrap();
}

/// An interpreter that says it is CPython 3.12.1 and that `executable` is its program.
pub(super) fn fake_interpreter(executable: &Path) -> Interpreter {
    let description = serde_json::from_str(&probe_answer(12, 1, executable)).unwrap();
    Interpreter::new(executable, description).unwrap()
}

/// What the probe of CPython 3.`minor`.`micro` prints.
pub(super) fn probe_answer(minor: u8, micro: u8, executable: &Path) -> String {
    serde_json::json!({
        "implementation": "cpython",
        "version": [3, minor, micro],
        "freeThreaded": false,
        "machine": "x86_64",
        "glibc": "glibc 2.36",
        "executable": executable,
        "standardLibrary": [],
        "extensionModules": [],
        "hidden": [],
    })
    .to_string()
}

/// Counts installations and leaves one package behind.
#[derive(Debug, Default)]
struct FakeInstaller {
    runs: Arc<AtomicUsize>,
    fails: bool,
}

impl Installer for FakeInstaller {
    fn install(&self, job: &InstallJob<'_>, _progress: &dyn PrepareProgress) -> Result<(), EnvironmentError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        fs_err::create_dir_all(job.target.join("six-1.16.0.dist-info")).unwrap();
        let module = job.target.join("six.py");
        fs_err::write(&module, job.requirements.text()).unwrap();
        fs_err::set_permissions(&module, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        if self.fails { Err(EnvironmentError::IndexUnreachable { detail: "refused".to_owned() }) } else { Ok(()) }
    }
}

struct Host {
    directory: tempfile::TempDir,
    runs: Arc<AtomicUsize>,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs_err::create_dir(&bin).unwrap();
        let host = Self { directory, runs: Arc::default() };
        host.set_interpreter(1);
        host
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    fn search_path(&self) -> OsString {
        self.directory.path().join("bin").into_os_string()
    }

    /// A `python3` that says it is CPython 3.12.`micro`, and that its program is this test: it needs an ELF file.
    fn set_interpreter(&self, micro: u8) {
        let answer = probe_answer(12, micro, &std::env::current_exe().unwrap());
        let path = self.directory.path().join("bin/python3");
        write_script(&path, &format!("cat <<'END'\n{answer}\nEND\n"));
    }

    fn manager(&self) -> PythonEnvironmentManager {
        let installer = FakeInstaller { runs: Arc::clone(&self.runs), fails: false };
        let locks = |minor| (minor == 12).then_some("six==1.16.0 --hash=sha256:00\n");
        PythonEnvironmentManager::with_parts(self.root(), self.search_path(), Box::new(installer), locks)
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    fn requirements(&self, text: &str) -> PathBuf {
        let path = self.directory.path().join("requirements.txt");
        fs_err::write(&path, text).unwrap();
        path
    }
}

fn selection(name: &str) -> EnvironmentSelection {
    EnvironmentSelection { name: name.to_owned(), python: None }
}

fn children(directory: &Path) -> usize {
    fs_err::read_dir(directory).map_or(0, Iterator::count)
}

#[test]
fn it_is_installed_once_and_then_found() {
    let host = Host::new();
    let first = host.manager().prepare(&selection("default"), &NoProgress).unwrap();
    let second = host.manager().prepare(&selection("default"), &NoProgress).unwrap();
    assert_eq!(first, second);
    assert_eq!(host.runs(), 1);
    assert_eq!(first.installed.len(), 1);
    assert!(first.packages.join("six.py").is_file());
    assert!(first.libraries.iter().any(|(path, _)| path.ends_with("libc.so.6")));
    let mode = fs_err::metadata(first.packages.join("six.py")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn two_at_once_install_once() {
    let host = Host::new();
    let environments: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| host.manager().prepare(&selection("default"), &NoProgress).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(host.runs(), 1);
    assert!(environments.iter().all(|environment| *environment == environments[0]));
}

#[test]
fn a_failed_installation_leaves_nothing_and_can_be_repeated() {
    let host = Host::new();
    let installer = FakeInstaller { runs: Arc::clone(&host.runs), fails: true };
    let failing =
        PythonEnvironmentManager::with_parts(host.root(), host.search_path(), Box::new(installer), |_| Some("six"));
    let error = failing.prepare(&selection("default"), &NoProgress).unwrap_err();
    assert!(matches!(error, EnvironmentError::IndexUnreachable { .. }));
    assert_eq!(children(&host.root().join("environments/default")), 0);
    assert!(host.manager().list().unwrap().is_empty());
    host.manager().prepare(&selection("default"), &NoProgress).unwrap();
}

#[test]
fn another_lock_or_interpreter_is_another_environment() {
    let host = Host::new();
    let first = host.manager().prepare(&selection("default"), &NoProgress).unwrap();
    host.set_interpreter(20);
    let upgraded = host.manager().prepare(&selection("default"), &NoProgress).unwrap();
    assert_ne!(first.key, upgraded.key);
    assert_eq!(upgraded.python.micro, 20);
    let installer = FakeInstaller { runs: Arc::clone(&host.runs), fails: false };
    let relocked =
        PythonEnvironmentManager::with_parts(host.root(), host.search_path(), Box::new(installer), |_| Some("six==2"));
    assert_ne!(relocked.prepare(&selection("default"), &NoProgress).unwrap().key, upgraded.key);
    assert_eq!(host.manager().list().unwrap().len(), 3);
}

#[test]
fn a_damaged_manifest_is_prepared_again() {
    let host = Host::new();
    let first = host.manager().prepare(&selection("default"), &NoProgress).unwrap();
    let directory = first.packages.parent().unwrap();
    fs_err::write(directory.join("environment.json"), "{").unwrap();
    assert_eq!(host.manager().prepare(&selection("default"), &NoProgress).unwrap(), first);
    assert_eq!(host.runs(), 2);
}

#[test]
fn libraries_are_looked_up_again_when_one_has_gone() {
    let host = Host::new();
    let first = host.manager().prepare(&selection("default"), &NoProgress).unwrap();
    let manifest = first.packages.parent().unwrap().join("environment.json");
    let text = fs_err::read_to_string(&manifest).unwrap();
    fs_err::write(&manifest, text.replace("/libc.so.6", "/libc.so.6.former")).unwrap();
    assert_eq!(host.manager().prepare(&selection("default"), &NoProgress).unwrap(), first);
    assert_eq!(host.runs(), 1);
}

#[test]
fn a_named_environment_lives_beside_the_default_one() {
    let host = Host::new();
    let manager = host.manager();
    assert!(matches!(
        manager.prepare(&selection("own"), &NoProgress),
        Err(EnvironmentError::UnknownEnvironment { .. })
    ));
    let file = host.requirements("six\n");
    let made = manager.prepare_named("own", &file, None, &NoProgress).unwrap();
    fs_err::remove_file(&file).unwrap();
    assert_eq!(manager.prepare(&selection("own"), &NoProgress).unwrap(), made);
    assert_eq!(host.runs(), 1);

    let file = host.requirements("six>=1\n");
    let again = manager.prepare_named("own", &file, None, &NoProgress).unwrap();
    assert_ne!(again.key, made.key);
    assert!(!made.packages.exists(), "the former state stays behind");

    manager.prepare(&selection("default"), &NoProgress).unwrap();
    let names: Vec<_> = manager.list().unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["default", "own"]);
    assert!(manager.list().unwrap().iter().all(|one| one.size > 0 && one.path.is_dir()));
    manager.remove("own").unwrap();
    assert!(!manager.path(&selection("own")).unwrap().exists());
    assert!(matches!(manager.remove("own"), Err(EnvironmentError::UnknownEnvironment { .. })));
    assert_eq!(children(&host.root().join("environments")), 1);
}

#[test]
fn a_named_environment_follows_an_upgrade_of_its_interpreter() {
    let host = Host::new();
    let made = host.manager().prepare_named("own", &host.requirements("six\n"), None, &NoProgress).unwrap();
    host.set_interpreter(20);
    let upgraded = host.manager().prepare(&selection("own"), &NoProgress).unwrap();
    assert_ne!(upgraded.key, made.key);
    assert_eq!(fs_err::read_to_string(upgraded.packages.join("six.py")).unwrap(), "six\n");
}

#[test]
fn names_and_requirements_are_checked_before_anything_is_made() {
    let host = Host::new();
    let manager = host.manager();
    let file = host.requirements("six\n");
    for name in ["default", "../up", ""] {
        let refused = manager.prepare_named(name, &file, None, &NoProgress);
        assert!(matches!(refused, Err(EnvironmentError::InvalidName { .. })));
    }
    assert!(matches!(manager.remove("../cache"), Err(EnvironmentError::InvalidName { .. })));
    let file = host.requirements("-e .\n");
    let refused = manager.prepare_named("own", &file, None, &NoProgress);
    assert!(matches!(refused, Err(EnvironmentError::UnsupportedRequirement { .. })));
    let long = usize::try_from(requirements::MAX_LENGTH).unwrap() + 1;
    let file = host.requirements(&"#".repeat(long));
    let refused = manager.prepare_named("own", &file, None, &NoProgress);
    assert!(matches!(refused, Err(EnvironmentError::RequirementsTooLong { .. })));
    assert_eq!(host.runs(), 0);
}
