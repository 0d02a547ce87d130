//! The private network of a sandbox: a loopback, and bounds on what it may hold.

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

use crate::{
    failure::{During, SetupFailure, SetupStep},
    sys::interface,
};

/// Settings of a network namespace, and their values: minimum, default and maximum of a buffer in bytes, and how many
/// connections may wait for `accept`.
///
/// What has arrived on a connection that nobody has accepted is charged to nobody: such a connection belongs to no
/// cgroup yet. With the kernel's own values one listener could hold more than a gigabyte of it. These leave about a
/// megabyte, and loopback a fifth of its speed (250 MB/s measured).
const BOUNDS: [(&str, &[u8]); 3] = [
    ("/proc/sys/net/core/somaxconn", b"32"),
    ("/proc/sys/net/ipv4/tcp_rmem", b"4096 16384 16384"),
    ("/proc/sys/net/ipv4/tcp_wmem", b"4096 16384 65536"),
];

/// Sets up the network namespace that this process is in, and tells whether all bounds are in force: there may be no
/// /proc to set them by (`proc`), and older kernels hide `somaxconn` from user namespaces (seen with 6.1, not with 6.12).
pub(crate) fn set_up(proc: bool) -> Result<bool, SetupFailure> {
    interface::bring_up_loopback().during(SetupStep::ConfigureLoopback, "lo")?;
    let mut bounded = proc;
    for (path, value) in BOUNDS.iter().filter(|_| proc) {
        match write(path, value) {
            Ok(()) => {}
            Err(Errno::NOENT) => bounded = false,
            Err(errno) => return Err(SetupFailure::new(SetupStep::ConfigureLoopback, path, errno)),
        }
    }
    Ok(bounded)
}

fn write(path: &str, value: &[u8]) -> Result<(), Errno> {
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, value).map(|_| ())
}
