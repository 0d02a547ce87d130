//! seccomp: installing a filter, and the listener that is told of refused calls.
#![expect(unsafe_code, reason = "the seccomp call and its ioctls are not in rustix")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::last_errno;

use crate::seccomp::compile::Instruction;

const SECCOMP_IOCTL_NOTIF_RECV: libc::c_ulong = 0xC050_2100;
const SECCOMP_IOCTL_NOTIF_SEND: libc::c_ulong = 0xC018_2101;

/// Installs `program` for this process for good; with `listen`, returns the listener of its notifications.
///
/// Needs `no_new_privs`.
pub(crate) fn install_filter(program: &[Instruction], listen: bool) -> Result<Option<OwnedFd>, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    let flags = if listen { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    // SAFETY: `Instruction` has the layout of sock_filter, `filter` points to `length` of them, and the kernel only
    // reads and copies them.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&filter)) };
    if result < 0 {
        return Err(last_errno());
    }
    if !listen {
        return Ok(None);
    }
    let raw = i32::try_from(result).map_err(|_| Errno::BADF)?;
    // SAFETY: with NEW_LISTENER the call returns a new descriptor, which nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(raw) }))
}

/// Takes one notification: its id and the system call's number. Does not block when the listener polls readable;
/// fails with ENOENT when the caller died meanwhile.
pub(crate) fn receive_notification(listener: impl AsFd) -> Result<(u64, i32), Errno> {
    let mut notification = std::mem::MaybeUninit::<libc::seccomp_notif>::zeroed();
    // SAFETY: the kernel asks for a zeroed structure of this size, which `notification` is, and fills it in.
    let result =
        unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), SECCOMP_IOCTL_NOTIF_RECV, notification.as_mut_ptr()) };
    if result < 0 {
        return Err(last_errno());
    }
    // SAFETY: all-zero is a valid value of it, and the kernel has filled it in.
    let notification = unsafe { notification.assume_init() };
    Ok((notification.id, notification.data.nr))
}

/// Answers notification `id` with EPERM; the call is not made.
pub(crate) fn refuse(listener: impl AsFd, id: u64) -> Result<(), Errno> {
    let response = libc::seccomp_notif_resp { id, val: 0, error: -libc::EPERM, flags: 0 };
    // SAFETY: `response` is initialised and outlives the call, which only reads it.
    let result =
        unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), SECCOMP_IOCTL_NOTIF_SEND, std::ptr::from_ref(&response)) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// A system call by number without arguments, to see what the filter answers.
pub(crate) fn probe_call(number: libc::c_long) -> Result<(), Errno> {
    // SAFETY: only called with numbers of calls that take no arguments and that the filter refuses.
    let result = unsafe { libc::syscall(number) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
