//! Everything that one bench has measured, as `--json` prints it.

use aevatar_sandbox::PythonEnvironment;
use serde::Serialize;

use super::{
    density::DensityReport,
    footprint::{IdleReport, ParkedReport},
    goals::Goal,
    latency::{LatencyReport, Way},
    processes::total_memory,
    programs::Program,
    statistics::{Summary, mebibytes},
    throughput::{LoadPoint, ThroughputReport},
};

/// The document. What was not asked for is left out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BenchReport {
    pub(super) version: &'static str,
    pub(super) host: Host,
    /// When the bench started.
    pub(super) started_at: jiff::Timestamp,
    pub(super) duration_seconds: f64,
    /// Whether it was the short one.
    pub(super) quick: bool,
    pub(super) goals: Vec<Goal>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) latency: Vec<LatencyReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) throughput: Vec<ThroughputReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parked: Vec<ParkedReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) idle: Option<IdleReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) density: Option<DensityReport>,
    /// What one should know before one believes the numbers.
    pub(super) notes: Vec<String>,
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Host {
    pub(super) kernel: String,
    pub(super) architecture: String,
    pub(super) cpus: usize,
    /// As the kernel calls it; empty where it does not.
    pub(super) cpu_model: String,
    pub(super) memory_mib: f64,
    pub(super) root: bool,
    pub(super) python: String,
    /// Load average of the last minute, before the bench: work of others that it competes with.
    pub(super) load_average: f64,
}

impl Host {
    pub(super) fn look(environment: &PythonEnvironment) -> Self {
        let system = rustix::system::uname();
        let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
        let model = |text: &str| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        Self {
            kernel: system.release().to_string_lossy().into_owned(),
            architecture: system.machine().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cpu_model: model(&read("/proc/cpuinfo")).unwrap_or_default(),
            memory_mib: total_memory().map_or(0.0, mebibytes),
            root: rustix::process::geteuid().is_root(),
            python: environment.python.to_string(),
            load_average: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }
}

impl BenchReport {
    pub(super) fn latency(&self, program: Program) -> Option<&LatencyReport> {
        self.latency.iter().find(|report| report.program == program)
    }

    pub(super) fn times(&self, program: Program, way: Way) -> Option<Summary> {
        self.latency(program)?.times(way)
    }

    pub(super) fn throughput(&self, program: Program) -> Option<&ThroughputReport> {
        self.throughput.iter().find(|report| report.program == program)
    }

    pub(super) fn parked(&self, program: Program) -> Option<&ParkedReport> {
        self.parked.iter().find(|report| report.program == program)
    }
}

impl ThroughputReport {
    pub(super) fn at(&self, clients: usize) -> Option<&LoadPoint> {
        self.points.iter().find(|point| point.clients == clients)
    }
}
