//! New processes: `clone3`, `fork`, `wait4`.
#![expect(unsafe_code, reason = "clone3, fork and wait4 with resource usage are not in rustix")]

use std::{
    os::fd::{FromRawFd, OwnedFd},
    time::Duration,
};

use rustix::{io::Errno, process::Pid};

use super::last_errno;

/// Which side of a clone this is.
pub(crate) enum Cloned {
    /// The new process.
    Child,
    /// The process that cloned; the child as a pid in this namespace and as a pidfd.
    Parent(Pid, OwnedFd),
}

/// Clones this process with `flags` (`CLONE_NEW…`), as `fork` does: a copy of the memory, no sharing.
///
/// The child keeps glibc's cached thread id of the parent, which only matters to threads and robust mutexes; it must
/// stay single-threaded or execute another program.
pub(crate) fn clone_process(flags: libc::c_int) -> Result<Cloned, Errno> {
    let mut pidfd: libc::c_int = -1;
    let arguments = libc::clone_args {
        flags: u64::from(flags.cast_unsigned()) | u64::from(libc::CLONE_PIDFD.cast_unsigned()),
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    // SAFETY: without CLONE_VM and with no stack given, the child runs on its own copy of this stack, so no memory is
    // shared; `arguments` outlives the call and its size is given. Only the keeper, the launcher and init call this,
    // and none of them ever starts a thread.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&arguments), size_of::<libc::clone_args>()) };
    match i32::try_from(result) {
        Ok(0) => Ok(Cloned::Child),
        Ok(raw) if raw > 0 => {
            // SAFETY: the kernel has just stored a new descriptor there (CLONE_PIDFD), which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Pid::from_raw(raw).map(|pid| Cloned::Parent(pid, pidfd)).ok_or(Errno::SRCH)
        }
        _ => Err(last_errno()),
    }
}

/// Forks; `None` in the child.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: init is single-threaded, so every lock is in a consistent state in the child.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        raw if raw > 0 => Pid::from_raw(raw).map(Some).ok_or(Errno::SRCH),
        _ => Err(last_errno()),
    }
}

/// Makes the cgroup this process is in the root of what it sees of cgroups.
pub(crate) fn unshare_cgroup_namespace() -> Result<(), Errno> {
    // SAFETY: a new cgroup namespace changes neither memory nor descriptors of this process.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }
}

/// How a child ended and what it and its own children used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildEnd {
    pub(crate) pid: Pid,
    /// As `waitpid` gives it.
    pub(crate) status: i32,
    pub(crate) user_time: Duration,
    pub(crate) system_time: Duration,
}

/// Waits for any child to end.
pub(crate) fn wait_any() -> Result<ChildEnd, Errno> {
    wait_with(0)?.ok_or(Errno::CHILD)
}

/// Takes a child that has ended, if there is one.
pub(crate) fn take_ended() -> Option<ChildEnd> {
    wait_with(libc::WNOHANG).ok().flatten()
}

fn wait_with(options: libc::c_int) -> Result<Option<ChildEnd>, Errno> {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are valid for writes for the length of the call.
    let raw = unsafe { libc::wait4(-1, &raw mut status, options, usage.as_mut_ptr()) };
    if raw == 0 {
        return Ok(None);
    }
    let pid = if raw > 0 { Pid::from_raw(raw) } else { None }.ok_or_else(last_errno)?;
    // SAFETY: an all-zero rusage is a valid one, and the kernel has filled it in.
    let usage = unsafe { usage.assume_init() };
    Ok(Some(ChildEnd { pid, status, user_time: duration(usage.ru_utime), system_time: duration(usage.ru_stime) }))
}

/// Ends this process without running destructors or exit handlers, which belong to the program it was cloned from.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_usec).unwrap_or(0) * 1000)
}

/// Whether this process has exactly one thread, as far as /proc can tell.
pub(crate) fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").map_or(true, |threads| threads.count() == 1)
}
