//! The only files of the workspace with `unsafe`: kernel calls that `rustix` does not offer, each behind a safe
//! function. Raw descriptors never leave this folder.

pub(crate) mod clone;
pub(crate) mod descriptors;
pub(crate) mod interface;
pub(crate) mod landlock;
pub(crate) mod loop_device;
pub(crate) mod mount_attributes;
pub(crate) mod notify;
pub(crate) mod signals;

use rustix::io::Errno;

/// What the last call of this thread that failed said.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
