//! The loopback interface of a new network namespace.
#![expect(unsafe_code, reason = "the interface ioctls are not in rustix")]

use std::os::fd::AsRawFd;

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
};

use super::last_errno;

/// Of linux/if.h; `libc` has it as an int, but the field is a short.
const IFF_UP: libc::c_short = 1;

/// Brings `lo` up; the kernel then gives it 127.0.0.1 and `::1` by itself.
pub(crate) fn bring_up_loopback() -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut request =
        libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: IFF_UP } };
    for (target, byte) in request.ifr_name.iter_mut().zip(*b"lo\0") {
        *target = byte.cast_signed() as libc::c_char;
    }
    // SAFETY: `request` is an initialised ifreq with a terminated name, and the socket is open.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}
