//! File names and formats of cgroup v2. Source: the kernel's admin-guide/cgroup-v2.

use std::time::Duration;

use super::{Bandwidth, CgroupError, CgroupLimits, CgroupUsage, ControllerPaths, read_keyed, read_number, write};

/// Memory and processes.
pub(super) fn set_limits(paths: &ControllerPaths, limits: CgroupLimits) -> Result<(), CgroupError> {
    let cgroup = &paths.memory;
    set_memory(paths, limits.memory)?;
    // Swap alone, unlike v1. The file is missing on a kernel without swap, where there is nothing to forbid.
    let swap = cgroup.join("memory.swap.max");
    if swap.exists() {
        write(&swap, 0)?;
    }
    write(&cgroup.join("memory.oom.group"), 1)?;
    write(&cgroup.join("pids.max"), limits.pids)
}

pub(super) fn set_memory(paths: &ControllerPaths, memory: u64) -> Result<(), CgroupError> {
    write(&paths.memory.join("memory.max"), memory)
}

pub(super) fn limit_cpu(paths: &ControllerPaths, bandwidth: Bandwidth) -> Result<(), CgroupError> {
    let cgroup = &paths.cpu;
    set_quota(paths, bandwidth.quota, bandwidth.period)?;
    let burst = cgroup.join("cpu.max.burst");
    // Kernels before 5.14 have no burst; the quota holds without it.
    if burst.exists() {
        write(&burst, bandwidth.burst)?;
    }
    Ok(())
}

/// Sets the quota of each period.
pub(super) fn set_quota(paths: &ControllerPaths, quota: u64, period: u64) -> Result<(), CgroupError> {
    write(&paths.cpu.join("cpu.max"), format_args!("{quota} {period}"))
}

pub(super) fn cpu_time(paths: &ControllerPaths) -> Option<Duration> {
    read_keyed(&paths.cpu.join("cpu.stat"), "usage_usec").map(Duration::from_micros)
}

pub(super) fn oom_kills(paths: &ControllerPaths) -> u64 {
    read_keyed(&paths.memory.join("memory.events"), "oom_kill").unwrap_or(0)
}

pub(super) fn usage(paths: &ControllerPaths) -> CgroupUsage {
    let cgroup = &paths.memory;
    let microseconds = |key: &str| Duration::from_micros(read_keyed(&cgroup.join("cpu.stat"), key).unwrap_or(0));
    CgroupUsage {
        cpu_time: microseconds("usage_usec"),
        user_time: microseconds("user_usec"),
        system_time: microseconds("system_usec"),
        memory_peak: read_number(&cgroup.join("memory.peak")),
        oom_kills: oom_kills(paths),
        pids_peak: read_number(&cgroup.join("pids.peak")),
        pids_refused: read_keyed(&cgroup.join("pids.events"), "max").unwrap_or(0),
    }
}
