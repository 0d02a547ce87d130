//! Signal dispositions, which an execution of another program inherits where a signal is ignored.
#![expect(unsafe_code, reason = "sigaction is not in rustix")]

/// Gives every signal its default action again.
pub(crate) fn restore_defaults() {
    for number in 1..libc::SIGRTMAX() {
        // SAFETY: the default action is no code of ours. KILL, STOP and glibc's own two refuse, which is as well.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}
