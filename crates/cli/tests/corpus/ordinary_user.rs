//! An ordinary user with cgroups of its own, as a service manager would delegate them.

use std::{
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::site;

/// No entry in /etc/passwd is needed, and none should be there.
const UID: u32 = 61000;
const V1_CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuacct", "freezer"];

/// The user's home with the binary, and its cgroups. Dropping it removes both.
pub(crate) struct OrdinaryUser {
    home: tempfile::TempDir,
    python: Vec<String>,
    /// One folder per hierarchy.
    cgroups: Vec<PathBuf>,
    created: AtomicUsize,
}

/// The part of a home's name that no other has.
fn home_name(home: &Path) -> String {
    let name = home.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit('-').next().unwrap_or_default().to_owned()
}

impl OrdinaryUser {
    /// Makes the home and the cgroups; `built` is the binary to copy.
    pub(crate) fn create(built: &Path) -> Result<Self, String> {
        let home = tempfile::Builder::new().prefix("aevatar-sandbox-user-").tempdir();
        let home = home.map_err(|error| format!("cannot make a home: {error}"))?;
        let mut user = Self { home, python: Vec::new(), cgroups: Vec::new(), created: AtomicUsize::new(0) };
        user.fill_home(built).map_err(|error| format!("cannot prepare {}: {error}", user.home.path().display()))?;
        // There may be two of them: one runs the command, the other one's server runs.
        let name = home_name(user.home.path());
        for parent in parents()? {
            let folder = parent.join(format!("corpus-of-an-ordinary-user-{name}"));
            make_cgroup(&folder)?;
            user.cgroups.push(folder);
        }
        // The default Python may lie under somebody's home.
        let default = user.command("python3").args(["-c", ""]).output();
        if !default.is_ok_and(|output| output.status.success()) {
            user.python.push("--python=/usr/bin/python3".to_owned());
        }
        Ok(user)
    }

    fn fill_home(&self, built: &Path) -> std::io::Result<()> {
        let home = self.home.path();
        std::fs::set_permissions(home, PermissionsExt::from_mode(0o755))?;
        std::fs::copy(built, self.binary())?;
        std::fs::set_permissions(self.binary(), PermissionsExt::from_mode(0o755))?;
        std::fs::create_dir(home.join("cache"))?;
        if let Some(prepared) = site::prepared_cache() {
            for name in ["environments", "interpreters.json"] {
                symlink(prepared.join(name), home.join("cache").join(name))?;
            }
        }
        chown(home.join("cache"), Some(UID), Some(UID))?;
        chown(home, Some(UID), Some(UID))
    }

    pub(crate) fn binary(&self) -> PathBuf {
        self.home.path().join("aevatar-sandbox")
    }

    /// Flags that name the Python to use.
    pub(crate) fn python_arguments(&self) -> &[String] {
        &self.python
    }

    /// A command that runs `program` as this user.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(Self::identity()).arg(program);
        self.clean(&mut command);
        command
    }

    /// The same in `cgroups`.
    pub(crate) fn command_in(&self, cgroups: &Cgroups, program: &str) -> Command {
        let mut command = Command::new("sh");
        // The shell moves itself, then becomes the program: everything of it is in the cgroups from the start.
        command.args([
            "-c",
            r#"while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 125; shift; done; shift; exec "$@""#,
            "sh",
        ]);
        command.args(&cgroups.folders).args(["--", "setpriv"]).args(Self::identity()).arg(program);
        self.clean(&mut command);
        command
    }

    fn identity() -> [String; 5] {
        let (user, group) = (format!("--reuid={UID}"), format!("--regid={UID}"));
        [user, group, "--clear-groups".to_owned(), "--inh-caps=-all".to_owned(), "--".to_owned()]
    }

    fn clean(&self, command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", self.home.path());
        command.env("AEVATAR_SANDBOX_CACHE", self.home.path().join("cache")).current_dir(self.home.path());
    }

    /// Cgroups for one execution.
    pub(crate) fn create_cgroups(&self) -> Result<Cgroups, String> {
        let name = self.created.fetch_add(1, Ordering::SeqCst).to_string();
        let mut cgroups = Cgroups { folders: Vec::new() };
        for parent in &self.cgroups {
            make_cgroup(&parent.join(&name))?;
            cgroups.folders.push(parent.join(&name));
        }
        Ok(cgroups)
    }
}

impl Drop for OrdinaryUser {
    fn drop(&mut self) {
        for folder in &self.cgroups {
            if let Err(error) = remove_cgroup(folder) {
                eprintln!("{error}");
            }
        }
    }
}

/// The cgroups of one execution, one folder per hierarchy. Dropping them removes them.
pub(crate) struct Cgroups {
    folders: Vec<PathBuf>,
}

impl Cgroups {
    /// Removes them; an error when something of the execution is left in one.
    pub(crate) fn remove(mut self) -> Result<(), String> {
        std::mem::take(&mut self.folders).iter().try_for_each(|folder| remove_cgroup(folder))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for folder in &self.folders {
            if let Err(error) = remove_cgroup(folder) {
                eprintln!("{error}");
            }
        }
    }
}

/// Where to make cgroups: the runner's own in each hierarchy of version 1, the root of version 2 (there a cgroup with
/// processes in it can have no children with limits).
fn parents() -> Result<Vec<PathBuf>, String> {
    let mounts =
        std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("cannot read the mounts: {error}"))?;
    let own =
        std::fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("cannot read the cgroups: {error}"))?;
    let mut parents = Vec::new();
    for mount in mounts.lines() {
        let Some((before, after)) = mount.split_once(" - ") else { continue };
        let (mut before, mut after) = (before.split(' ').skip(3), after.split(' '));
        let (Some(root), Some(target)) = (before.next(), before.next()) else { continue };
        let (Some(kind), _, Some(options)) = (after.next(), after.next(), after.next()) else { continue };
        if kind == "cgroup2" {
            parents.push(PathBuf::from(target));
        } else if kind == "cgroup"
            && let Some(controller) = options.split(',').find(|option| V1_CONTROLLERS.contains(option))
        {
            let path = own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let found = fields.next()?.split(',').any(|name| name == controller);
                fields.next().filter(|_| found)
            });
            let path = path.unwrap_or("/");
            parents.push(Path::new(target).join(path.strip_prefix(root).unwrap_or(path).trim_start_matches('/')));
        }
    }
    if parents.is_empty() { Err("this host has no cgroups".to_owned()) } else { Ok(parents) }
}

/// Makes a cgroup and gives it to the user, as far as a delegation goes: its limits stay ours.
fn make_cgroup(folder: &Path) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("cannot make the cgroup {}: {error}", folder.display());
    if let Some(parent) = folder.parent() {
        let available = std::fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
        for controller in available.split_whitespace().filter(|name| V1_CONTROLLERS.contains(name)) {
            std::fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}")).map_err(fail)?;
        }
    }
    std::fs::create_dir(folder).map_err(fail)?;
    chown(folder, Some(UID), Some(UID)).map_err(fail)?;
    for name in ["tasks", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        if folder.join(name).exists() {
            chown(folder.join(name), Some(UID), Some(UID)).map_err(fail)?;
        }
    }
    Ok(())
}

/// Removes a cgroup with its children, once their processes have gone.
fn remove_cgroup(folder: &Path) -> Result<(), String> {
    if let Ok(entries) = std::fs::read_dir(folder) {
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            remove_cgroup(&entry.path())?;
        }
    }
    let started = Instant::now();
    loop {
        match std::fs::remove_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if started.elapsed() > site::patience(Duration::from_secs(5)) => {
                let processes = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
                let processes: Vec<&str> = processes.lines().collect();
                return Err(format!(
                    "left behind: the cgroup {} with the processes {processes:?} ({error})",
                    folder.display()
                ));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
            Ok(()) => return Ok(()),
        }
    }
}
