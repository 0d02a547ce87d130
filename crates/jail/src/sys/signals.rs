//! Signal dispositions, which an execution of another program inherits where a signal is ignored.
#![expect(unsafe_code, reason = "sigaction and signalfd are not in rustix")]

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::last_errno;

/// A descriptor that is readable when a child has ended, in place of the signal. The signal stays blocked in children,
/// which call [`unblock_all`].
pub(crate) fn ended_children() -> Result<OwnedFd, Errno> {
    let mut children = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is valid for writes.
    unsafe { libc::sigemptyset(children.as_mut_ptr()) };
    // SAFETY: the set was initialised just above.
    unsafe { libc::sigaddset(children.as_mut_ptr(), libc::SIGCHLD) };
    // SAFETY: the set is initialised and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, children.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: the set is initialised.
    let raw = unsafe { libc::signalfd(-1, children.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if raw < 0 {
        return Err(last_errno());
    }
    // SAFETY: the call has returned a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Lets the kernel reap children that nobody waits for.
pub(crate) fn ignore_ended_children() {
    // SAFETY: to ignore is no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Blocks no signal.
pub(crate) fn unblock_all() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is valid for writes.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: `none` was initialised just above and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}

/// Gives every signal its default action again, and blocks none.
pub(crate) fn restore_defaults() {
    unblock_all();
    for number in 1..libc::SIGRTMAX() {
        // SAFETY: the default action is no code of ours. KILL, STOP and glibc's own two refuse, which is as well.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}
