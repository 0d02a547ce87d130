//! What became of executions, and what they took.

use std::sync::atomic::AtomicU64;

use aevatar_sandbox_contract::{ProgramStart, StartPath};
use aevatar_sandbox_python::{EndedExecution, ExecutionObserver};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use super::{Metrics, histogram};

/// Seconds that a program may take to its first instruction: a parked worker's fraction of a millisecond, up to a long
/// queue.
const STARTUP: [f64; 14] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 20.0, 60.0];
const DURATION: [f64; 14] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];
const WAIT: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
const MIB: f64 = 1024.0 * 1024.0;
const MEMORY: [f64; 10] = [
    8.0 * MIB,
    16.0 * MIB,
    32.0 * MIB,
    64.0 * MIB,
    128.0 * MIB,
    256.0 * MIB,
    512.0 * MIB,
    1024.0 * MIB,
    2048.0 * MIB,
    4096.0 * MIB,
];

/// Words as in results.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdict {
    status: String,
    reason: String,
    start: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Start {
    start: &'static str,
}

#[derive(Debug)]
pub(super) struct Executions {
    ended: Family<Verdict, Counter>,
    startup: Family<Start, Histogram, fn() -> Histogram>,
    duration: Histogram,
    queue_wait: Histogram,
    peak_memory: Histogram,
    cpu: Counter<f64, AtomicU64>,
    output: Counter,
    oom_kills: Counter,
    denied_syscalls: Counter,
}

impl Executions {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self {
            ended: Family::default(),
            startup: Family::new_with_constructor(|| histogram(&STARTUP)),
            duration: histogram(&DURATION),
            queue_wait: histogram(&WAIT),
            peak_memory: histogram(&MEMORY),
            cpu: Counter::default(),
            output: Counter::default(),
            oom_kills: Counter::default(),
            denied_syscalls: Counter::default(),
        };
        registry.register("executions", "Executions that ended", all.ended.clone());
        registry.register("startup_seconds", "From the request to the start of its program", all.startup.clone());
        registry.register("execution_duration_seconds", "From the start of a program to its end", all.duration.clone());
        registry.register("queue_wait_seconds", "From a request to its turn", all.queue_wait.clone());
        registry.register("peak_memory_bytes", "Highest memory use of a program", all.peak_memory.clone());
        registry.register("cpu_seconds", "CPU time of all programs", all.cpu.clone());
        registry.register("output_bytes", "What programs wrote to stdout and stderr", all.output.clone());
        registry.register("oom_kills", "Processes that were killed for want of memory", all.oom_kills.clone());
        registry.register(
            "denied_syscalls",
            "System calls that were refused; at most 32 of a program count",
            all.denied_syscalls.clone(),
        );
        all
    }

    /// So that there is one of each: a family without members is not written down.
    #[cfg(test)]
    pub(super) fn touch(&self) {
        drop(self.ended.get_or_create(&Verdict { status: String::new(), reason: String::new(), start: "cold" }));
        drop(self.startup.get_or_create(&Start { start: "cold" }));
    }

    fn ended(&self, execution: &EndedExecution<'_>) {
        let result = execution.result;
        let start = start_word(result.start.as_ref());
        let (status, reason) = (format!("{:?}", result.status), format!("{:?}", result.termination.reason));
        self.ended.get_or_create(&Verdict { status, reason, start }).inc();
        if let Some(wait) = execution.queue_wait {
            self.queue_wait.observe(wait.as_secs_f64());
        }
        if result.start.is_none() {
            return;
        }
        let usage = &result.usage;
        self.startup.get_or_create(&Start { start }).observe(usage.startup.as_secs_f64());
        self.duration.observe(usage.wall_time.as_secs_f64());
        if let Some(bytes) = usage.peak_memory_bytes {
            #[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB, and only a bucket is chosen")]
            self.peak_memory.observe(bytes as f64);
        }
        self.cpu.inc_by(usage.cpu_time.as_secs_f64());
        self.output.inc_by(usage.output_bytes);
        self.oom_kills.inc_by(usage.oom_kills);
        self.denied_syscalls.inc_by(u64::try_from(usage.denied_syscalls.len()).unwrap_or(u64::MAX));
    }
}

/// How a program came by its interpreter; `none` where it never ran.
pub(crate) fn start_word(start: Option<&ProgramStart>) -> &'static str {
    match start.map(|start| start.path) {
        Some(StartPath::Parked) => "parked",
        Some(StartPath::Forked) => "forked",
        Some(StartPath::Cold) => "cold",
        None => "none",
    }
}

impl ExecutionObserver for Metrics {
    fn ended(&self, execution: &EndedExecution<'_>) {
        self.executions.ended(execution);
    }

    fn store_failed(&self) {
        Self::store_failed(self);
    }
}
