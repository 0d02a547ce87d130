//! `mount_setattr`: changing the flags of a mount, before it is attached anywhere.
#![expect(unsafe_code, reason = "mount_setattr is not in rustix")]

use std::os::fd::{AsFd, AsRawFd};

use rustix::{io::Errno, mount::MountAttrFlags};

use super::last_errno;

/// Sets `flags` on the mount behind `mount`, and on all mounts below it when `recursive`.
pub(crate) fn set_mount_flags(mount: impl AsFd, flags: MountAttrFlags, recursive: bool) -> Result<(), Errno> {
    let attributes = libc::mount_attr { attr_set: u64::from(flags.bits()), attr_clr: 0, propagation: 0, userns_fd: 0 };
    let at_flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attributes` outlives the call and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            at_flags,
            std::ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
