//! Signal dispositions, which an execution of another program inherits where a signal is ignored.
#![expect(unsafe_code, reason = "sigaction is not in rustix")]

/// Lets the kernel reap children that nobody waits for.
pub(crate) fn ignore_ended_children() {
    // SAFETY: to ignore is no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Gives every signal its default action again, and blocks none.
pub(crate) fn restore_defaults() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is valid for writes.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: `none` was initialised just above and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
    for number in 1..libc::SIGRTMAX() {
        // SAFETY: the default action is no code of ours. KILL, STOP and glibc's own two refuse, which is as well.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}
