//! An ordinary user: a uid of its own, a home with the binary and an environment without packages, and cgroups as a
//! service manager would delegate them, if wanted. Only root can make one.

use std::{
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    delegation::Delegation,
    host::{self, Process},
    place::{Outcome, finish},
    running::Running,
    site,
};

/// The first uid. No entry in /etc/passwd is needed, and none should be there.
const FIRST_UID: u32 = 61_001;
static MADE: AtomicU32 = AtomicU32::new(0);

pub(crate) struct OrdinaryUser {
    uid: u32,
    home: TempDir,
    cgroups: Option<Delegation>,
}

impl OrdinaryUser {
    pub(crate) fn without_cgroups() -> Self {
        let uid = FIRST_UID + MADE.fetch_add(1, Ordering::SeqCst);
        let home = tempfile::Builder::new().prefix("it-user-").tempdir().unwrap();
        let user = Self { uid, home, cgroups: None };
        user.own(user.home());
        std::fs::set_permissions(user.home(), PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["cache", "work"] {
            std::fs::create_dir(user.home().join(name)).unwrap();
            user.own(&user.home().join(name));
        }
        // By another process: a file that this one had open for writing could be held by a child of another test's.
        let copied =
            Command::new("install").args(["-m", "755"]).arg(site::binary()).arg(user.binary()).status().unwrap();
        assert!(copied.success());
        let requirements = user.home().join("requirements.txt");
        std::fs::write(&requirements, "").unwrap();
        let prepared = finish(
            user.command(&["env", "prepare", "--name", "plain", "--requirements", requirements.to_str().unwrap()]),
            b"",
        );
        assert_eq!(prepared.code, 0, "{prepared:?}");
        user
    }

    pub(crate) fn with_cgroups() -> Self {
        let mut user = Self::without_cgroups();
        user.cgroups = Some(Delegation::to(user.uid));
        user
    }

    fn own(&self, path: &Path) {
        chown(path, Some(self.uid), Some(self.uid)).unwrap();
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    fn binary(&self) -> PathBuf {
        self.home().join("aevatar-sandbox")
    }

    /// The binary as this user, in its cgroups from the start.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let setpriv = Path::new("setpriv");
        let mut command = self.cgroups.as_ref().map_or_else(|| Command::new(setpriv), |own| own.command(setpriv));
        command.args([format!("--reuid={}", self.uid), format!("--regid={}", self.uid)]);
        command.args(["--clear-groups", "--inh-caps=-all", "--"]).arg(self.binary()).args(arguments);
        // The distribution's Python first: the default one may be below root's home.
        let path = format!("/usr/bin:/bin:{}", std::env::var("PATH").unwrap_or_default());
        command.env_clear().env("PATH", path).env("HOME", self.home()).env("TMPDIR", self.home().join("work"));
        command.env("AEVATAR_SANDBOX_CACHE", self.home().join("cache")).current_dir(self.home().join("work"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        finish(self.command(&[&["run", "--environment", "plain"], arguments].concat()), b"")
    }

    pub(crate) fn run_json(&self, arguments: &[&str]) -> Value {
        self.run(&[&["--json"], arguments].concat()).json()
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(&[&["run", "--environment", "plain"], arguments].concat()))
    }

    pub(crate) fn processes(&self) -> Vec<Process> {
        host::all_processes().into_iter().filter(|process| process.uid() == Some(self.uid)).collect()
    }

    /// Fails unless this user has no process, no cgroup of a sandbox and no leftover file.
    pub(crate) fn assert_nothing_left(&self) {
        host::eventually_nothing("left of an ordinary user's sandbox", || {
            let mut left: Vec<String> = self
                .processes()
                .into_iter()
                .map(|process| format!("process {} {}", process.pid, process.name()))
                .collect();
            let folders = self.cgroups.as_ref().map_or(&[][..], Delegation::folders);
            let cgroups = host::cgroups_named(folders, "aevatar-sandbox-");
            left.extend(cgroups.into_iter().map(|path| path.display().to_string()));
            let files = std::fs::read_dir(self.home().join("work")).unwrap().flatten();
            left.extend(files.map(|file| file.path().display().to_string()));
            left
        });
    }
}
