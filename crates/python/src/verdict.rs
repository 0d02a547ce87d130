//! Why an execution ended: from facts to a verdict, purely.
//!
//! The facts are the supervisor's and the kernel's. What the program says of itself (its exception) can only choose
//! between reasons for which the kernel has a witness: it cannot turn a failure into a success, nor invent a limit.

use std::time::Duration;

use aevatar_sandbox_contract::{
    ExecutionStatus, ProgramEnd, PythonError, ResourceLimits, ResourceUsage, Termination, TerminationReason,
};

/// Why the monitor ended an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intervention {
    /// The wall-clock limit.
    WallTime,
    /// The CPU-time limit.
    CpuTime,
    /// The output limit.
    Output,
    /// The kernel had killed a process for want of memory.
    OutOfMemory,
    /// The caller cancelled it.
    Cancelled,
    /// The service is stopping.
    Interrupted,
}

/// Everything a verdict depends on.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// What the monitor did, if it did before the main process ended.
    pub(crate) intervention: Option<Intervention>,
    /// How the main process ended, if it did by itself.
    pub(crate) end: Option<ProgramEnd>,
    /// The uncaught exception, in the program's words.
    pub(crate) error: Option<&'a PythonError>,
    /// The writable folders were full at the end.
    pub(crate) disk_was_full: bool,
    pub(crate) usage: &'a ResourceUsage,
    pub(crate) limits: &'a ResourceLimits,
}

/// What is said about an end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) status: ExecutionStatus,
    pub(crate) exit_code: Option<i32>,
    pub(crate) termination: Termination,
}

const EPERM: i32 = 1;
const EAGAIN: i32 = 11;
const ENOSPC: i32 = 28;
const ENOSYS: i32 = 38;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;
const SIGSYS: i32 = 31;
/// What a shell says of a process that SIGKILL ended.
const KILLED: i32 = 128 + SIGKILL;

/// Judges.
pub(crate) fn judge(facts: &Facts<'_>) -> Verdict {
    match (facts.intervention, facts.end) {
        (Some(intervention), _) => intervened(intervention, facts),
        (None, Some(ProgramEnd::Exited(code))) => exited(code, facts),
        (None, Some(ProgramEnd::Signalled(signal))) => signalled(signal, facts),
        // Its pid 1 died without a word: on cgroup v2 the kernel kills all of it when memory is out.
        (None, None) if facts.usage.oom_kills > 0 => out_of_memory(facts),
        (None, None) => verdict(
            ExecutionStatus::Failed,
            None,
            TerminationReason::SandboxFailure,
            "the sandbox ended without saying how".to_owned(),
        ),
    }
}

fn intervened(intervention: Intervention, facts: &Facts<'_>) -> Verdict {
    let (limits, usage) = (facts.limits, facts.usage);
    match intervention {
        Intervention::WallTime => {
            let verdict = verdict(
                ExecutionStatus::TimedOut,
                Some(KILLED),
                TerminationReason::WallTimeLimit,
                format!("ended at the time limit of {}", seconds(limits.timeout)),
            );
            with_limit(verdict, seconds(limits.timeout), Some(seconds(usage.wall_time)))
        }
        Intervention::CpuTime => cpu_time(facts),
        Intervention::Output => {
            let verdict = verdict(
                ExecutionStatus::Failed,
                Some(KILLED),
                TerminationReason::OutputLimit,
                format!("ended after writing more than {} of output", limits.output_limit),
            );
            with_limit(verdict, limits.output_limit.to_string(), Some(mebibytes(usage.output_bytes)))
        }
        Intervention::OutOfMemory => out_of_memory(facts),
        Intervention::Cancelled => verdict(
            ExecutionStatus::Cancelled,
            Some(KILLED),
            TerminationReason::Cancelled,
            "cancelled by the caller".to_owned(),
        ),
        Intervention::Interrupted => verdict(
            ExecutionStatus::Cancelled,
            Some(KILLED),
            TerminationReason::Interrupted,
            "ended because the service stopped".to_owned(),
        ),
    }
}

fn exited(code: i32, facts: &Facts<'_>) -> Verdict {
    if code == 0 {
        return verdict(
            ExecutionStatus::Completed,
            Some(0),
            TerminationReason::Exited,
            "the program ended with exit code 0".to_owned(),
        );
    }
    let Some(error) = facts.error else {
        return verdict(
            ExecutionStatus::Failed,
            Some(code),
            TerminationReason::Exited,
            format!("the program ended with exit code {code}"),
        );
    };
    let usage = facts.usage;
    // "can't start new thread" is a RuntimeError without an errno.
    let refused_process = usage.processes_refused > 0 && (error.errno == Some(EAGAIN) || error.name == "RuntimeError");
    if refused_process {
        let limit = facts.limits.process_limit;
        let verdict = verdict(
            ExecutionStatus::Failed,
            Some(code),
            TerminationReason::ProcessLimit,
            format!("uncaught {} at the limit of {limit} processes and threads", error.name),
        );
        return with_limit(verdict, limit.to_string(), usage.processes_peak.map(|peak| peak.to_string()));
    }
    if facts.disk_was_full && error.errno == Some(ENOSPC) {
        let verdict = verdict(
            ExecutionStatus::Failed,
            Some(code),
            TerminationReason::DiskLimit,
            format!("uncaught {}: the writable folders were full", error.name),
        );
        return with_limit(verdict, facts.limits.disk_limit.to_string(), usage.disk_bytes.map(mebibytes));
    }
    if let (Some(call), Some(EPERM | ENOSYS)) = (usage.denied_syscalls.last(), error.errno) {
        return verdict(
            ExecutionStatus::Failed,
            Some(code),
            TerminationReason::SyscallDenied,
            format!("uncaught {} after the system call `{call}`, which the sandbox refuses", error.name),
        );
    }
    let at = error.line.map_or_else(String::new, |line| format!(" in line {line}"));
    // The files that filled the disk may be gone with the exception, and the witness with them.
    let of = if error.errno == Some(ENOSPC) {
        format!(": no space left, the disk limit is {}", facts.limits.disk_limit)
    } else {
        String::new()
    };
    verdict(
        ExecutionStatus::Failed,
        Some(code),
        TerminationReason::Exception,
        format!("uncaught {}{at}{of}", error.name),
    )
}

fn signalled(signal: i32, facts: &Facts<'_>) -> Verdict {
    if signal == SIGKILL && facts.usage.oom_kills > 0 {
        return out_of_memory(facts);
    }
    // The kernel's own limit for one process; ours for all is checked before, so this is a second line.
    let over_cpu = facts.limits.cpu_time.is_some_and(|limit| facts.usage.cpu_time >= limit);
    if over_cpu && (signal == SIGKILL || signal == SIGXCPU) {
        return cpu_time(facts);
    }
    if signal == SIGSYS {
        return verdict(
            ExecutionStatus::Failed,
            Some(128 + signal),
            TerminationReason::SyscallDenied,
            "ended by the kernel for a system call of a foreign architecture".to_owned(),
        );
    }
    verdict(
        ExecutionStatus::Failed,
        Some(128 + signal),
        TerminationReason::Signal,
        format!("ended by signal {signal} ({})", signal_name(signal)),
    )
}

fn out_of_memory(facts: &Facts<'_>) -> Verdict {
    let limit = facts.limits.memory_limit;
    let verdict = verdict(
        ExecutionStatus::Failed,
        Some(KILLED),
        TerminationReason::OutOfMemory,
        format!("killed by the kernel at the memory limit of {limit}"),
    );
    with_limit(verdict, limit.to_string(), facts.usage.peak_memory_bytes.map(mebibytes))
}

fn cpu_time(facts: &Facts<'_>) -> Verdict {
    let limit = facts.limits.cpu_time.unwrap_or_default();
    let verdict = verdict(
        ExecutionStatus::TimedOut,
        Some(KILLED),
        TerminationReason::CpuTimeLimit,
        format!("ended at the CPU time limit of {}", seconds(limit)),
    );
    with_limit(verdict, seconds(limit), Some(seconds(facts.usage.cpu_time)))
}

const fn verdict(
    status: ExecutionStatus,
    exit_code: Option<i32>,
    reason: TerminationReason,
    message: String,
) -> Verdict {
    Verdict { status, exit_code, termination: Termination { reason, message, limit: None, peak: None } }
}

fn with_limit(mut verdict: Verdict, limit: String, peak: Option<String>) -> Verdict {
    verdict.termination.limit = Some(limit);
    verdict.termination.peak = peak;
    verdict
}

fn seconds(duration: Duration) -> String {
    let text = format!("{:.3}", duration.as_secs_f64());
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

fn mebibytes(bytes: u64) -> String {
    // Tenths in integers: exact, and no float of a hostile size.
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => "no common name",
    }
}

#[cfg(test)]
mod tests {
    use aevatar_sandbox_contract::DEFAULT_LIMITS;

    use super::*;

    fn error(name: &str, errno: Option<i32>) -> PythonError {
        PythonError {
            name: name.into(),
            value: String::new(),
            traceback: String::new(),
            line: Some(2),
            column: None,
            errno,
        }
    }

    fn reason(
        intervention: Option<Intervention>,
        end: Option<ProgramEnd>,
        error: Option<&PythonError>,
        disk_was_full: bool,
        usage: &ResourceUsage,
    ) -> (TerminationReason, ExecutionStatus, Option<i32>) {
        let mut limits = DEFAULT_LIMITS;
        limits.cpu_time = Some(Duration::from_secs(1));
        let verdict = judge(&Facts { intervention, end, error, disk_was_full, usage, limits: &limits });
        (verdict.termination.reason, verdict.status, verdict.exit_code)
    }

    #[test]
    fn the_reason_is_the_cause_of_the_end() {
        use ExecutionStatus::{Cancelled, Completed, Failed, TimedOut};
        use ProgramEnd::{Exited, Signalled};
        use TerminationReason as Reason;

        let quiet = ResourceUsage::default();
        let killed_one = ResourceUsage { oom_kills: 1, ..quiet.clone() };
        let refused_forks = ResourceUsage { processes_refused: 3, ..quiet.clone() };
        let denied = ResourceUsage { denied_syscalls: vec!["mount".into()], ..quiet.clone() };
        let busy = ResourceUsage { cpu_time: Duration::from_secs(2), ..quiet.clone() };
        let value_error = error("ValueError", None);
        let no_space = error("OSError", Some(ENOSPC));
        let again = error("BlockingIOError", Some(EAGAIN));
        let no_thread = error("RuntimeError", None);
        let not_permitted = error("PermissionError", Some(EPERM));

        let cases = [
            (None, Some(Exited(0)), None, false, &quiet, (Reason::Exited, Completed, Some(0))),
            (None, Some(Exited(3)), None, false, &quiet, (Reason::Exited, Failed, Some(3))),
            (None, Some(Exited(1)), Some(&value_error), false, &quiet, (Reason::Exception, Failed, Some(1))),
            // Limits that were met and survived are no reason.
            (None, Some(Exited(0)), None, true, &refused_forks, (Reason::Exited, Completed, Some(0))),
            (None, Some(Exited(0)), None, false, &killed_one, (Reason::Exited, Completed, Some(0))),
            (None, Some(Exited(0)), Some(&no_space), true, &denied, (Reason::Exited, Completed, Some(0))),
            (None, Some(Exited(1)), Some(&value_error), true, &denied, (Reason::Exception, Failed, Some(1))),
            // A claim without the kernel's witness is a plain exception.
            (None, Some(Exited(1)), Some(&no_space), false, &quiet, (Reason::Exception, Failed, Some(1))),
            (None, Some(Exited(1)), Some(&not_permitted), false, &quiet, (Reason::Exception, Failed, Some(1))),
            (None, Some(Exited(1)), Some(&again), false, &quiet, (Reason::Exception, Failed, Some(1))),
            // With it, it is the limit.
            (None, Some(Exited(1)), Some(&no_space), true, &quiet, (Reason::DiskLimit, Failed, Some(1))),
            (None, Some(Exited(1)), Some(&again), false, &refused_forks, (Reason::ProcessLimit, Failed, Some(1))),
            (None, Some(Exited(1)), Some(&no_thread), false, &refused_forks, (Reason::ProcessLimit, Failed, Some(1))),
            (None, Some(Exited(1)), Some(&not_permitted), false, &denied, (Reason::SyscallDenied, Failed, Some(1))),
            (None, Some(Signalled(9)), None, false, &quiet, (Reason::Signal, Failed, Some(137))),
            (None, Some(Signalled(9)), None, false, &killed_one, (Reason::OutOfMemory, Failed, Some(137))),
            (None, Some(Signalled(9)), None, false, &busy, (Reason::CpuTimeLimit, TimedOut, Some(137))),
            (None, Some(Signalled(31)), None, false, &quiet, (Reason::SyscallDenied, Failed, Some(159))),
            (None, Some(Signalled(15)), None, false, &killed_one, (Reason::Signal, Failed, Some(143))),
            (None, None, None, false, &killed_one, (Reason::OutOfMemory, Failed, Some(137))),
            (None, None, None, false, &quiet, (Reason::SandboxFailure, Failed, None)),
            (Some(Intervention::WallTime), None, None, false, &quiet, (Reason::WallTimeLimit, TimedOut, Some(137))),
            (
                Some(Intervention::WallTime),
                Some(Signalled(9)),
                None,
                false,
                &killed_one,
                (Reason::WallTimeLimit, TimedOut, Some(137)),
            ),
            (Some(Intervention::CpuTime), None, None, false, &busy, (Reason::CpuTimeLimit, TimedOut, Some(137))),
            (Some(Intervention::Output), None, None, false, &quiet, (Reason::OutputLimit, Failed, Some(137))),
            (Some(Intervention::OutOfMemory), None, None, false, &killed_one, (Reason::OutOfMemory, Failed, Some(137))),
            (Some(Intervention::Cancelled), None, None, false, &quiet, (Reason::Cancelled, Cancelled, Some(137))),
            (Some(Intervention::Interrupted), None, None, false, &quiet, (Reason::Interrupted, Cancelled, Some(137))),
        ];
        for (intervention, end, error, full, usage, expected) in cases {
            assert_eq!(reason(intervention, end, error, full, usage), expected, "{intervention:?} {end:?} {error:?}");
        }
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(seconds(Duration::from_secs(30)), "30 s");
        assert_eq!(seconds(Duration::from_millis(1_250)), "1.25 s");
        assert_eq!(mebibytes(268_435_456), "256.0 MiB");
        assert_eq!(mebibytes(u64::MAX), "1759218604441.5 MiB");
    }
}
