//! Cgroups of a test's own, one per hierarchy, as a service manager would delegate them. What starts in them makes its
//! cgroups there and sweeps nowhere else. Only root can make them.

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::host;

/// Where a server goes on cgroup v2, out of the way of the cgroups that it makes; `DelegateSubgroup=` of systemd.
const SUPERVISOR: &str = "aevatar-sandbox.supervisor";

static MADE: AtomicU32 = AtomicU32::new(0);

/// Dropping it removes the cgroups.
pub(crate) struct Delegation(Vec<PathBuf>);

impl Delegation {
    /// Makes the cgroups and gives them to `uid`, as far as a delegation goes: their limits stay ours.
    pub(crate) fn to(uid: u32) -> Self {
        // Not `aevatar-sandbox-…`: servers sweep those.
        let name = format!("it-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::SeqCst));
        let mut delegation = Self(Vec::new());
        for parent in host::cgroup_parents() {
            let folder = parent.join(&name);
            std::fs::create_dir(&folder).unwrap();
            delegation.0.push(folder.clone());
            if folder.join("cgroup.controllers").exists() {
                // On v2 a cgroup that has given controllers to its children takes no process any more.
                std::fs::create_dir(folder.join(SUPERVISOR)).unwrap();
                chown(folder.join(SUPERVISOR), Some(uid), Some(uid)).unwrap();
                chown(folder.join(SUPERVISOR).join("cgroup.procs"), Some(uid), Some(uid)).unwrap();
            }
            for file in ["", "tasks", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                if folder.join(file).exists() {
                    chown(folder.join(file), Some(uid), Some(uid)).unwrap();
                }
            }
        }
        delegation
    }

    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.0
    }

    /// A command that executes `program` in the cgroups; arguments are to be added.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        // The shell moves itself, then becomes the program: everything of it is in the cgroups from the start.
        let script = r#"while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 99; shift; done; shift; exec "$@""#;
        let entered = self.0.iter().map(|folder| {
            let supervisor = folder.join(SUPERVISOR);
            if supervisor.exists() { supervisor } else { folder.clone() }
        });
        command.args(["-c", script, "sh"]).args(entered).arg("--").arg(program);
        command
    }
}

impl Drop for Delegation {
    fn drop(&mut self) {
        for folder in &self.0 {
            let removed = (0..250).any(|_attempt| {
                // It is there on cgroup v2 only.
                drop(std::fs::remove_dir(folder.join(SUPERVISOR)));
                let removed = std::fs::remove_dir(folder).is_ok();
                std::thread::sleep(Duration::from_millis(if removed { 0 } else { 20 }));
                removed
            });
            assert!(removed || std::thread::panicking(), "left behind: {}", folder.display());
        }
    }
}
