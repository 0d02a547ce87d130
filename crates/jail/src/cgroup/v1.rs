//! File names and formats of cgroup v1. Source: the kernel's admin-guide/cgroup-v1.

use std::{os::fd::AsRawFd, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{EventfdFlags, eventfd},
    fs::{Mode, OFlags, open},
};

use super::{Bandwidth, CgroupError, CgroupLimits, CgroupUsage, ControllerPaths, read_keyed, read_number, write};

/// Part of the memory limit that TCP buffers may take beside it, and at most how much.
const TCP_SHARE: u64 = 16;
const TCP_MAX: u64 = 16 << 20;

/// Memory and processes.
pub(super) fn set_limits(paths: &ControllerPaths, limits: CgroupLimits) -> Result<(), CgroupError> {
    write(&paths.memory.join(MEMORY), limits.memory)?;
    // Memory and swap together, unlike v2: the same number means no swap. The file is missing on a kernel without
    // swap accounting, and there the limit above would let a sandbox swap, so swappiness is the second line.
    let with_swap = paths.memory.join(MEMORY_AND_SWAP);
    if with_swap.exists() {
        write(&with_swap, limits.memory)?;
    } else {
        write(&paths.memory.join("memory.swappiness"), 0)?;
    }
    limit_tcp(paths, limits.memory)?;
    write(&paths.pids.join("pids.max"), limits.pids)
}

const MEMORY: &str = "memory.limit_in_bytes";
const MEMORY_AND_SWAP: &str = "memory.memsw.limit_in_bytes";

/// TCP buffers have an account of their own on v1, on top of the other: a small one, so that the sum stays close to the
/// limit.
fn limit_tcp(paths: &ControllerPaths, memory: u64) -> Result<(), CgroupError> {
    let tcp = paths.memory.join("memory.kmem.tcp.limit_in_bytes");
    if tcp.exists() { write(&tcp, (memory / TCP_SHARE).min(TCP_MAX)) } else { Ok(()) }
}

/// Changes the memory limit that [`set_limits`] set.
pub(super) fn change_memory(paths: &ControllerPaths, before: u64, memory: u64) -> Result<(), CgroupError> {
    let with_swap = paths.memory.join(MEMORY_AND_SWAP);
    let with_swap = with_swap.exists().then_some(with_swap);
    // The limit with swap is never below the one without: the kernel refuses that.
    match with_swap {
        Some(with_swap) if memory > before => {
            write(&with_swap, memory)?;
            write(&paths.memory.join(MEMORY), memory)?;
        }
        Some(with_swap) => {
            write(&paths.memory.join(MEMORY), memory)?;
            write(&with_swap, memory)?;
        }
        None => write(&paths.memory.join(MEMORY), memory)?,
    }
    limit_tcp(paths, memory)
}

pub(super) fn limit_cpu(paths: &ControllerPaths, bandwidth: Bandwidth) -> Result<(), CgroupError> {
    write(&paths.cpu.join("cpu.cfs_period_us"), bandwidth.period)?;
    set_quota(paths, bandwidth.quota)?;
    let burst = paths.cpu.join("cpu.cfs_burst_us");
    // Kernels before 5.14 have no burst; the quota holds without it.
    if burst.exists() {
        write(&burst, bandwidth.burst)?;
    }
    Ok(())
}

/// Sets the quota of each period.
pub(super) fn set_quota(paths: &ControllerPaths, quota: u64) -> Result<(), CgroupError> {
    write(&paths.cpu.join("cpu.cfs_quota_us"), quota)
}

pub(super) fn oom_event(paths: &ControllerPaths) -> Result<OwnedFd, CgroupError> {
    let fail = |errno: rustix::io::Errno| CgroupError::Io {
        action: format!("listen for out-of-memory events of {}", paths.memory.display()),
        source: errno.into(),
    };
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(fail)?;
    let control =
        open(paths.memory.join("memory.oom_control"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(fail)?;
    write(&paths.memory.join("cgroup.event_control"), format_args!("{} {}", event.as_raw_fd(), control.as_raw_fd()))?;
    Ok(event)
}

pub(super) fn cpu_time(paths: &ControllerPaths) -> Option<Duration> {
    read_number(&paths.cpuacct.join("cpuacct.usage")).map(Duration::from_nanos)
}

pub(super) fn oom_kills(paths: &ControllerPaths) -> u64 {
    read_keyed(&paths.memory.join("memory.oom_control"), "oom_kill").unwrap_or(0)
}

pub(super) fn usage(paths: &ControllerPaths) -> CgroupUsage {
    let nanoseconds = |file: &str| Duration::from_nanos(read_number(&paths.cpuacct.join(file)).unwrap_or(0));
    CgroupUsage {
        cpu_time: nanoseconds("cpuacct.usage"),
        user_time: nanoseconds("cpuacct.usage_user"),
        system_time: nanoseconds("cpuacct.usage_sys"),
        memory_peak: read_number(&paths.memory.join("memory.max_usage_in_bytes")),
        oom_kills: oom_kills(paths),
        pids_peak: read_number(&paths.pids.join("pids.peak")),
        pids_refused: read_keyed(&paths.pids.join("pids.events"), "max").unwrap_or(0),
    }
}
