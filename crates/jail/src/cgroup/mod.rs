//! Limits and accounting of all processes of a sandbox together.
//!
//! One [`CgroupHost`] per host, one [`CgroupInstance`] per server, one [`SandboxCgroup`] per sandbox. cgroup v1 and
//! v2 are the same here but for file names and formats, which are in `v1` and `v2`. Everything fails closed: a
//! limit that cannot be written is an error.

mod detect;
mod instance;
mod v1;
mod v2;

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use fs_err as fs;
use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
};

pub use detect::CgroupHost;
pub(crate) use instance::remove_dying;
pub use instance::{CgroupInstance, InstancePaths};

use crate::layers::{self, Layer};

/// The controllers that limits need on v2, where `cpu` counts as well as it limits.
const UNIFIED_CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// The first of them that `list`, a file of v2 that names controllers, does not name.
fn missing_controller(list: &str) -> Option<&'static str> {
    UNIFIED_CONTROLLERS.into_iter().find(|wanted| !list.split_whitespace().any(|name| name == *wanted))
}

/// Why there are no limits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// The host has no hierarchy with a controller that is needed.
    #[error("the host's cgroups have no `{controller}` controller that this process can reach")]
    NoController {
        /// `memory`, `pids`, `cpu` or `cpuacct`.
        controller: &'static str,
    },
    /// This process may not make cgroups below its own.
    #[error("cgroup `{path}` is not writable for this user")]
    NotWritable {
        /// The cgroup.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// cgroup v2 gives no controllers to the children of a cgroup that holds processes.
    #[error("cgroup `{path}` holds other processes, so it cannot give limits to new cgroups below it")]
    Occupied {
        /// The cgroup.
        path: PathBuf,
    },
    /// A file of a cgroup could not be read or written.
    #[error("could not {action}")]
    Io {
        /// `write 64 to /sys/fs/cgroup/…/pids.max`.
        action: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl CgroupError {
    /// What the operator can do.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoController { .. } => {
                "run in a delegated cgroup: `systemd-run --user --scope -p Delegate=yes aevatar-sandbox …`, or a service with `Delegate=yes`; if that lacks it too, `systemctl edit user@.service` with `[Service]` and `Delegate=cpu memory pids`, and log in anew; without systemd mount cgroup v2 at /sys/fs/cgroup"
            }
            Self::Occupied { .. } => {
                "start the service itself in a cgroup of its own, not a shell that then starts it: `systemd-run --user --scope -p Delegate=yes aevatar-sandbox …`, or a service with `Delegate=yes`; a service of several processes needs `DelegateSubgroup=aevatar-sandbox.supervisor` too"
            }
            Self::NotWritable { .. } => {
                "run in a delegated cgroup: `systemd-run --user --scope -p Delegate=yes aevatar-sandbox …`, or a service with `Delegate=yes`; on cgroup v1 an administrator can chown a cgroup of each controller to this user"
            }
            Self::Io { .. } => "see the cause; `aevatar-sandbox doctor` tries every layer",
        }
    }
}

/// Where the four controllers of one cgroup are: four folders on cgroup v1 (some may be the same), one on v2.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ControllerPaths {
    pub(crate) version: Version,
    pub(crate) memory: PathBuf,
    pub(crate) pids: PathBuf,
    pub(crate) cpu: PathBuf,
    pub(crate) cpuacct: PathBuf,
}

/// Version of the cgroup interface that limits are set with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// One hierarchy for all.
    V2,
}

impl ControllerPaths {
    /// The folders, each once.
    pub(crate) fn folders(&self) -> Vec<&Path> {
        let mut folders: Vec<&Path> = Vec::new();
        for path in [&self.memory, &self.pids, &self.cpu, &self.cpuacct] {
            if !folders.contains(&path.as_path()) {
                folders.push(path);
            }
        }
        folders
    }

    pub(crate) fn join(&self, name: &str) -> Self {
        Self {
            version: self.version,
            memory: self.memory.join(name),
            pids: self.pids.join(name),
            cpu: self.cpu.join(name),
            cpuacct: self.cpuacct.join(name),
        }
    }

    /// The file to write a process into. On v1 `tasks` moves a single-threaded process without stopping the world.
    const fn join_file(&self) -> &'static str {
        match self.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        }
    }
}

/// What to enforce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupLimits {
    /// Thousandths of one CPU.
    pub millicores: u32,
    /// Bytes.
    pub memory: u64,
    /// Processes and threads, the sandbox's init included.
    pub pids: u32,
}

/// CPU bandwidth in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bandwidth {
    quota: u64,
    period: u64,
    burst: u64,
}

impl CgroupLimits {
    /// These limits. For a layer that is left out on trial, one that nothing reaches.
    fn but_for_trials(self) -> Self {
        let limit = |layer, limit, far| if layers::is_on(layer) { limit } else { far };
        Self {
            millicores: limit(Layer::CpuLimit, self.millicores, 1_000_000),
            memory: if layers::is_on(Layer::MemoryLimit) { self.memory } else { 1 << 50 },
            pids: limit(Layer::PidsLimit, self.pids, 1_000_000),
        }
    }

    /// A period of 100 ms with a burst as large as the quota: what a program of a few milliseconds needs comes at
    /// once, where a short period makes it wait ten times over (measured: 9 ms of work take 9 ms instead of 70).
    /// The kernel refuses a quota below 1 ms, so tiny shares get a longer period.
    fn bandwidth(self) -> Bandwidth {
        let period = if self.millicores < 10 { 1_000_000 } else { 100_000 };
        let quota = u64::from(self.millicores) * period / 1000;
        Bandwidth { quota, period, burst: quota }
    }
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupUsage {
    /// User and system time.
    pub cpu_time: Duration,
    /// In programs.
    pub user_time: Duration,
    /// In the kernel.
    pub system_time: Duration,
    /// Highest memory use; nothing on a kernel that does not keep it.
    pub memory_peak: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// Highest number of processes and threads; nothing on a kernel that does not keep it.
    pub pids_peak: Option<u64>,
    /// Forks that were refused at the limit.
    pub pids_refused: u64,
}

/// The cgroups of one sandbox.
#[derive(Debug)]
pub struct SandboxCgroup {
    paths: ControllerPaths,
    limits: CgroupLimits,
    is_removed: bool,
}

impl SandboxCgroup {
    /// Makes them below an instance's, with all limits set before anybody is in them.
    ///
    /// # Errors
    /// A folder or a limit could not be made; nothing is left of it.
    pub fn create(instance: &CgroupInstance, name: &str, limits: CgroupLimits) -> Result<Self, CgroupError> {
        let cgroup = Self::create_for_later(instance, name, limits)?;
        cgroup.limit_cpu()?;
        Ok(cgroup)
    }

    /// The same but for the CPU, which is unlimited until [`Self::check_out`]: what is done ahead of a program is not to
    /// spend what is the program's.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_for_later(instance: &CgroupInstance, name: &str, limits: CgroupLimits) -> Result<Self, CgroupError> {
        let limits = limits.but_for_trials();
        let cgroup = Self { paths: instance.paths().controllers().join(name), limits, is_removed: false };
        // Dropping it removes what there is of it.
        cgroup.make()?;
        Ok(cgroup)
    }

    fn make(&self) -> Result<(), CgroupError> {
        for folder in self.paths.folders() {
            make_folder(folder)?;
        }
        match self.paths.version {
            Version::V1 => v1::set_limits(&self.paths, self.limits),
            Version::V2 => v2::set_limits(&self.paths, self.limits),
        }
    }

    fn limit_cpu(&self) -> Result<(), CgroupError> {
        match self.paths.version {
            Version::V1 => v1::limit_cpu(&self.paths, self.limits.bandwidth()),
            Version::V2 => v2::limit_cpu(&self.paths, self.limits.bandwidth()),
        }
    }

    /// Sets the limits of a program for processes that were made before it was known, the CPU's among them.
    ///
    /// # Errors
    /// A limit could not be set: the processes use more memory already, for one.
    pub fn check_out(&mut self, limits: CgroupLimits) -> Result<(), CgroupError> {
        let before = std::mem::replace(&mut self.limits, limits.but_for_trials());
        if self.limits.memory != before.memory {
            match self.paths.version {
                Version::V1 => v1::change_memory(&self.paths, before.memory, self.limits.memory)?,
                Version::V2 => v2::set_memory(&self.paths, self.limits.memory)?,
            }
        }
        if self.limits.pids != before.pids {
            write(&self.paths.pids.join("pids.max"), self.limits.pids)?;
        }
        self.limit_cpu()
    }

    /// Memory that its processes use now, in bytes.
    pub fn memory(&self) -> Option<u64> {
        let file = match self.paths.version {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        };
        read_number(&self.paths.memory.join(file))
    }

    /// Files for init to write "0" into: who opened them is what the kernel asks, not who writes.
    ///
    /// # Errors
    /// A file could not be opened.
    pub fn join_files(&self) -> Result<Vec<OwnedFd>, CgroupError> {
        self.paths
            .folders()
            .into_iter()
            .map(|folder| {
                let path = folder.join(self.paths.join_file());
                open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| CgroupError::Io {
                    action: format!("open {}", path.display()),
                    source: errno.into(),
                })
            })
            .collect()
    }

    /// The folder on version 2, where a process can be forked into a cgroup.
    ///
    /// # Errors
    /// It could not be opened.
    pub fn folder(&self) -> Result<Option<OwnedFd>, CgroupError> {
        if self.paths.version == Version::V1 {
            return Ok(None);
        }
        let path = &self.paths.memory;
        open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map(Some)
            .map_err(|errno| CgroupError::Io { action: format!("open {}", path.display()), source: errno.into() })
    }

    /// A descriptor that becomes readable when the kernel kills for want of memory, where that does not end the whole
    /// sandbox by itself: on cgroup v1.
    ///
    /// # Errors
    /// It could not be had.
    pub fn oom_event(&self) -> Result<Option<OwnedFd>, CgroupError> {
        match self.paths.version {
            Version::V1 => v1::oom_event(&self.paths).map(Some),
            Version::V2 => Ok(None),
        }
    }

    /// Gives the processes one CPU, if they have less: a killed process must run to die, and at a thousandth of a CPU
    /// that takes seconds. Not more, because a program can make its death take long.
    pub fn hurry_death(&self) {
        let Bandwidth { quota, period, .. } = self.limits.bandwidth();
        if quota >= period {
            return;
        }
        // It only hurries what happens anyway.
        drop(match self.paths.version {
            Version::V1 => v1::set_quota(&self.paths, period),
            Version::V2 => v2::set_quota(&self.paths, period, period),
        });
    }

    /// Processes and threads that are in them now; one that was reaped is not.
    pub fn processes(&self) -> Option<u64> {
        read_number(&self.paths.pids.join("pids.current"))
    }

    /// CPU time so far.
    pub fn cpu_time(&self) -> Option<Duration> {
        match self.paths.version {
            Version::V1 => v1::cpu_time(&self.paths),
            Version::V2 => v2::cpu_time(&self.paths),
        }
    }

    /// Processes that the kernel has killed for want of memory so far.
    pub fn oom_kills(&self) -> u64 {
        match self.paths.version {
            Version::V1 => v1::oom_kills(&self.paths),
            Version::V2 => v2::oom_kills(&self.paths),
        }
    }

    /// What was used so far.
    pub fn usage(&self) -> CgroupUsage {
        match self.paths.version {
            Version::V1 => v1::usage(&self.paths),
            Version::V2 => v2::usage(&self.paths),
        }
    }

    /// Removes the cgroups if nobody is left in them. True when they are gone.
    pub fn remove_now(&mut self) -> bool {
        self.is_removed = self.is_removed || {
            // One after the other: while somebody is in the first, somebody is in all.
            self.paths.folders().into_iter().all(remove_folder)
        };
        self.is_removed
    }
}

impl Drop for SandboxCgroup {
    fn drop(&mut self) {
        // Of use where a launch failed half-way and nobody is in them yet.
        self.remove_now();
    }
}

fn make_folder(path: &Path) -> Result<(), CgroupError> {
    // Not fs_err: its error carries the path in its text, and here the path has a field of its own.
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)).map_err(|errno| match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            CgroupError::NotWritable { path: path.parent().unwrap_or(path).to_path_buf(), source: errno.into() }
        }
        errno => CgroupError::Io { action: format!("make cgroup {}", path.display()), source: errno.into() },
    })
}

/// True when it is gone, also when it was gone before.
fn remove_folder(path: &Path) -> bool {
    matches!(rustix::fs::rmdir(path), Ok(()) | Err(Errno::NOENT))
}

fn write(path: &Path, value: impl std::fmt::Display) -> Result<(), CgroupError> {
    let value = value.to_string();
    // Not fs_err: its error hides the errno, which callers look at.
    std::fs::write(path, &value)
        .map_err(|source| CgroupError::Io { action: format!("write {value} to {}", path.display()), source })
}

fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::Io { action: format!("read {}", path.display()), source })
}

/// The number in a file with one number.
fn read_number(path: &Path) -> Option<u64> {
    read(path).ok()?.trim().parse().ok()
}

/// The number behind `key` in a file of `key number` lines.
fn read_keyed(path: &Path, key: &str) -> Option<u64> {
    let content = read(path).ok()?;
    content.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidth_keeps_to_what_the_kernel_accepts() {
        let of = |millicores| CgroupLimits { millicores, memory: 0, pids: 0 }.bandwidth();
        assert_eq!(of(100), Bandwidth { quota: 10_000, period: 100_000, burst: 10_000 });
        assert_eq!(of(2500), Bandwidth { quota: 250_000, period: 100_000, burst: 250_000 });
        assert_eq!(of(1), Bandwidth { quota: 1000, period: 1_000_000, burst: 1000 });
        for millicores in 1..5000 {
            let bandwidth = of(millicores);
            assert!(bandwidth.quota >= 1000 && bandwidth.burst <= bandwidth.quota);
        }
    }
}
