//! The host's state, as far as a sandbox may change it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use aevatar_sandbox_jail::cgroup::{CgroupHost, CgroupInstance};

use crate::site;

/// How long the kernel and the keeper may take to clean up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process, told from a later one with the same pid by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    started: u64,
}

/// What /proc/PID/stat says.
struct Stat {
    process: Process,
    parent: u32,
    zombie: bool,
}

impl Process {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| stat.process)
    }

    pub(crate) fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.process == self && !stat.zombie)
    }

    /// The first argument: the keeper's names it.
    pub(crate) fn name(self) -> String {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let first = arguments.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(first).into_owned()
    }

    pub(crate) fn executable(self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/exe", self.pid)).ok()
    }

    /// What /proc/PID/cgroup says, which everybody may read.
    pub(crate) fn cgroups(self) -> String {
        std::fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).unwrap_or_default()
    }

    pub(crate) fn uid(self) -> Option<u32> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
    }
}

/// Whether a process is the engine's, or kept warm, rather than a program's: it has one of our names.
pub(crate) fn is_ours(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("sandbox-"))
}

/// Whether a cgroup is that of a sandbox that waits for a program: it has members, and all are ours.
pub(crate) fn is_parked(cgroup: &Path) -> bool {
    let members = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut members = members.lines().peekable();
    members.peek().is_some() && members.all(|pid| pid.parse().is_ok_and(is_ours))
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; what follows is proc_pid_stat(5) from field 3 on.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let process = Process { pid, started: fields.get(19)?.parse().ok()? };
    Some(Stat { process, parent: fields.get(1)?.parse().ok()?, zombie: matches!(*fields.first()?, "Z" | "X") })
}

fn all_stats() -> Vec<Stat> {
    let entries = std::fs::read_dir("/proc").expect("cannot list /proc");
    entries.flatten().filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Every process that is not a zombie.
pub(crate) fn all_processes() -> Vec<Process> {
    all_stats().into_iter().filter(|stat| !stat.zombie).map(|stat| stat.process).collect()
}

pub(crate) fn children(parent: u32) -> Vec<Process> {
    all_stats().into_iter().filter(|stat| stat.parent == parent && !stat.zombie).map(|stat| stat.process).collect()
}

/// Children, their children and so on; without `ancestor` itself.
pub(crate) fn descendants(ancestor: u32) -> Vec<Process> {
    let mut by_parent: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    for stat in all_stats() {
        by_parent.entry(stat.parent).or_default().push(stat.process);
    }
    let (mut found, mut next) = (Vec::new(), vec![ancestor]);
    while let Some(parent) = next.pop() {
        let children = by_parent.remove(&parent).unwrap_or_default();
        next.extend(children.iter().map(|child| child.pid));
        found.extend(children);
    }
    found
}

/// The cgroups in which servers of this user make theirs: one folder per hierarchy, the one with the lock first.
pub(crate) fn cgroup_parents() -> &'static [PathBuf] {
    static PARENTS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    PARENTS.get_or_init(|| {
        let Ok(instance) = CgroupHost::detect().and_then(|host| CgroupInstance::create(&host)) else {
            return Vec::new();
        };
        let paths = serde_json::to_value(instance.paths()).expect("paths are data");
        let mut parents = Vec::new();
        for controller in ["memory", "pids", "cpu", "cpuacct"] {
            let path = Path::new(paths[controller].as_str().expect("a path"));
            let parent = path.parent().expect("an instance has a parent").to_path_buf();
            if !parents.contains(&parent) {
                parents.push(parent);
            }
        }
        parents
    })
}

/// Folders in `parents` whose names begin with `prefix`.
pub(crate) fn cgroups_named(parents: &[PathBuf], prefix: &str) -> Vec<PathBuf> {
    let entries = parents.iter().filter_map(|parent| std::fs::read_dir(parent).ok()).flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| entry.path()).collect()
}

/// The cgroups of the server `pid`.
pub(crate) fn cgroups_of(pid: u32) -> Vec<PathBuf> {
    cgroups_named(cgroup_parents(), &format!("aevatar-sandbox-{pid}-"))
}

/// Loop devices whose files are, or were, in `folder`.
pub(crate) fn loop_devices(folder: &Path) -> Vec<String> {
    let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let backing = devices.filter_map(|device| std::fs::read_to_string(device.path().join("loop/backing_file")).ok());
    backing.filter(|file| Path::new(file.trim_end()).starts_with(folder)).collect()
}

/// The mounts of this process's namespace: where, and what.
pub(crate) fn mounts() -> BTreeSet<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("cannot read the mounts");
    table.lines().map(str::to_owned).collect()
}

/// Waits until `look` finds nothing, and fails with what it found last.
pub(crate) fn eventually_nothing(what: &str, mut look: impl FnMut() -> Vec<String>) {
    let started = Instant::now();
    loop {
        let found = look();
        if found.is_empty() {
            return;
        }
        assert!(
            started.elapsed() < site::patience(PATIENCE),
            "{what}: still there after {PATIENCE:?} × {}: {found:#?}",
            site::slowness()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for something to come.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < site::patience(PATIENCE), "{what}: not within {PATIENCE:?} × {}", site::slowness());
        std::thread::sleep(Duration::from_millis(1));
    }
}
