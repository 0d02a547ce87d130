//! The cgroups of one server, and what dead servers left.
//!
//! An instance is alive as long as somebody holds the locks on its folders: the server and its keepers share them. The
//! locks are the kernel's, so a crash releases them, and they mean the same in every pid namespace. Each folder has its
//! own, because on cgroup v1 two servers may share the parent in one hierarchy and not in another.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fs_err as fs;
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, fstat, open, stat},
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use serde::{Deserialize, Serialize};

use super::{CgroupError, CgroupHost, ControllerPaths, Version, make_folder, missing_controller, remove_folder, write};

/// How all our cgroups begin.
const PREFIX: &str = "aevatar-sandbox-";
/// Where the server itself goes on cgroup v2, whose inner cgroups may hold no process.
pub(super) const SUPERVISOR: &str = "aevatar-sandbox.supervisor";

/// Where one instance's cgroups are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancePaths(ControllerPaths);

impl InstancePaths {
    pub(super) const fn controllers(&self) -> &ControllerPaths {
        &self.0
    }

    /// Removes the instance and everything below it, killing what still runs there. True when all is gone.
    pub fn remove(&self) -> bool {
        let left = self.0.folders().into_iter().filter(|folder| !remove_tree(folder)).count();
        left == 0
    }
}

/// The cgroups of this server.
#[derive(Debug)]
pub struct CgroupInstance {
    paths: InstancePaths,
    locks: Vec<OwnedFd>,
}

impl CgroupInstance {
    /// Makes them where the host lets this process, after sweeping what dead servers left there.
    ///
    /// # Errors
    /// The first place's error, when no place works.
    pub fn create(host: &CgroupHost) -> Result<Self, CgroupError> {
        let mut first_error = None;
        for parent in &host.parents {
            match Self::create_in(parent) {
                Ok(instance) => return Ok(instance),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or(CgroupError::NoController { controller: "memory" }))
    }

    fn create_in(parent: &ControllerPaths) -> Result<Self, CgroupError> {
        sweep(parent);
        if parent.version == Version::V2 {
            delegate_controllers(&parent.memory)?;
        }
        let paths = InstancePaths(parent.join(&unique_name()));
        match Self::make_folders(&paths) {
            Ok(locks) => Ok(Self { paths, locks }),
            Err(error) => {
                paths.remove();
                Err(error)
            }
        }
    }

    fn make_folders(paths: &InstancePaths) -> Result<Vec<OwnedFd>, CgroupError> {
        let mut locks = Vec::new();
        for folder in paths.0.folders() {
            locks.push(make_locked(folder)?);
            if paths.0.version == Version::V2 {
                enable_controllers(folder)?;
            }
        }
        Ok(locks)
    }

    /// Where they are.
    pub const fn paths(&self) -> &InstancePaths {
        &self.paths
    }

    pub(crate) fn locks(&self) -> Vec<BorrowedFd<'_>> {
        self.locks.iter().map(AsFd::as_fd).collect()
    }
}

impl Drop for CgroupInstance {
    fn drop(&mut self) {
        // The keeper may have done it already. Engines and sandboxes are gone by now.
        remove_dying(|| self.paths.remove());
    }
}

/// Calls `remove` until it succeeds, for a tenth of a second: a process that was just killed keeps its cgroup busy for a
/// moment. What is left then is swept at the next start.
pub(crate) fn remove_dying(remove: impl Fn() -> bool) {
    for _attempt in 0..50 {
        if remove() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Pid, time and a counter: unique on a host, also when pids come around.
fn unique_name() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
    format!("{PREFIX}{}-{now:x}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Whether [`unique_name`] made it: a sweep must not touch what merely sounds like ours.
fn is_instance_name(name: &str) -> bool {
    let Some(parts) = name.strip_prefix(PREFIX).map(|rest| rest.split('-').collect::<Vec<_>>()) else { return false };
    let all = |part: &str, digit: fn(&char) -> bool| !part.is_empty() && part.chars().all(|letter| digit(&letter));
    matches!(parts[..], [pid, time, counter]
        if all(pid, char::is_ascii_digit) && all(time, char::is_ascii_hexdigit) && all(counter, char::is_ascii_digit))
}

/// Makes a folder and takes its lock. A sweep of another server may come in between, hold the lock for a moment, and
/// remove the folder.
fn make_locked(folder: &Path) -> Result<OwnedFd, CgroupError> {
    loop {
        make_folder_if_missing(folder)?;
        if let Some(lock) = lock_folder(folder) {
            return Ok(lock);
        }
        std::thread::yield_now();
    }
}

fn make_folder_if_missing(folder: &Path) -> Result<(), CgroupError> {
    match make_folder(folder) {
        Err(CgroupError::Io { source, .. }) if Errno::from_io_error(&source) == Some(Errno::EXIST) => Ok(()),
        result => result,
    }
}

/// Takes the lock of an instance's folder, if nobody alive has it and the folder is still there.
fn lock_folder(path: &Path) -> Option<OwnedFd> {
    let folder = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive).ok()?;
    let (locked, named) = (fstat(&folder).ok()?, stat(path).ok()?);
    (locked.st_ino == named.st_ino).then_some(folder)
}

/// Removes what dead instances left below `parent`, in each hierarchy by itself.
fn sweep(parent: &ControllerPaths) {
    for folder in parent.folders() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(is_instance_name) {
                // Held while it is removed, so that it is nobody's new instance meanwhile.
                if let Some(_lock) = lock_folder(&entry.path()) {
                    remove_dying(|| remove_tree(&entry.path()));
                }
            }
        }
    }
}

/// Lets the children of `parent` have controllers. A cgroup that holds processes cannot: then this process moves into
/// a child first.
fn delegate_controllers(parent: &Path) -> Result<(), CgroupError> {
    if let Some(controller) = missing_controller(&super::read(&parent.join("cgroup.controllers"))?) {
        return Err(CgroupError::NoController { controller });
    }
    match enable_controllers(parent) {
        Ok(()) => return Ok(()),
        Err(CgroupError::Io { action, source }) => match Errno::from_io_error(&source) {
            Some(Errno::BUSY) => {}
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
                return Err(CgroupError::NotWritable { path: parent.to_path_buf(), source });
            }
            _ => return Err(CgroupError::Io { action, source }),
        },
        Err(error) => return Err(error),
    }
    // Only this process may move, and only if that will do: it must be there, and alone.
    if super::read(&parent.join("cgroup.procs"))?.trim() != std::process::id().to_string() {
        return Err(CgroupError::Occupied { path: parent.to_path_buf() });
    }
    let supervisor = parent.join(SUPERVISOR);
    make_folder_if_missing(&supervisor)?;
    write(&supervisor.join("cgroup.procs"), 0).inspect_err(|_| {
        remove_folder(&supervisor);
    })?;
    enable_controllers(parent).map_err(|_| {
        // Back to where we were; a supervisor without a use is removed again.
        drop(write(&parent.join("cgroup.procs"), 0));
        remove_folder(&supervisor);
        CgroupError::Occupied { path: parent.to_path_buf() }
    })
}

fn enable_controllers(cgroup: &Path) -> Result<(), CgroupError> {
    let path = cgroup.join("cgroup.subtree_control");
    if missing_controller(&super::read(&path)?).is_none() {
        return Ok(());
    }
    write(&path, "+cpu +memory +pids")
}

/// Removes a cgroup with its children, killing their processes. Cgroups are made by us two levels deep, so the depth
/// is bounded; a sandbox cannot make any.
fn remove_tree(path: &Path) -> bool {
    if remove_folder(path) {
        return true;
    }
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            kill_members(&entry.path());
            remove_folder(&entry.path());
        }
    }
    remove_folder(path)
}

fn kill_members(cgroup: &Path) {
    if write(&cgroup.join("cgroup.kill"), 1).is_ok() {
        return;
    }
    let members = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_ours() {
        assert!(is_instance_name(&unique_name()));
        for stranger in
            ["aevatar-sandbox-backup.slice", "aevatar-sandbox-", "aevatar-sandbox-1-2", "aevatar-sandbox-1-2-3-4", "x"]
        {
            assert!(!is_instance_name(stranger), "{stranger}");
        }
    }
}
