//! Placing and closing descriptors by number, which only a process that is about to execute another program may do.
#![expect(unsafe_code, reason = "descriptors by number are outside Rust's ownership")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::last_errno;

/// Makes `source` also available as descriptor `target`, open across an execution. What was there is closed.
pub(crate) fn place(source: impl AsFd, target: i32) -> Result<(), Errno> {
    // SAFETY: `source` is open. `target` belongs to nobody: the caller is init or its child, whose owned descriptors
    // are all above the targets.
    let result = unsafe { libc::dup2(source.as_fd().as_raw_fd(), target) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Closes every descriptor that is not in `keep`.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    kept.sort_unstable();
    let mut first = 0;
    for number in kept {
        if number > first {
            close_range(first, number - 1)?;
        }
        first = number + 1;
    }
    close_range(first, u32::MAX)
}

/// Closes every descriptor from `first` on but `keep`.
pub(crate) fn close_all_from(first: i32, keep: impl AsFd) -> Result<(), Errno> {
    let first = first.cast_unsigned();
    let keep = keep.as_fd().as_raw_fd().cast_unsigned();
    if keep > first {
        close_range(first, keep - 1)?;
    }
    close_range(keep.max(first) + 1, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: only init and its child get here, right after their clone: what is closed belongs to values of the
    // parent's code which this process never returns to and never drops (it ends by exit_now or by an execution).
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// The control socket that the keeper was started with as its stdin.
pub(crate) fn take_stdin() -> OwnedFd {
    // SAFETY: called once, first thing in the keeper, before anything reads stdin; the engine always passes one.
    unsafe { OwnedFd::from_raw_fd(0) }
}
