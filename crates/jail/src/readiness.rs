//! What the kernel says of a descriptor at this moment.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Polls `fd` without waiting: IN when there is something to read, HUP when the other side is gone; nothing when
/// neither, or when the kernel cannot tell.
pub fn poll_now(fd: impl AsFd) -> PollFlags {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(&fd, PollFlags::IN)];
    match poll(&mut polled, Some(&now)) {
        Ok(_) => polled[0].revents(),
        Err(_) => PollFlags::empty(),
    }
}
