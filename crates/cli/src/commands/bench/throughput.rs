//! Many at once: a closed loop of clients, each of which sends its next program when the last one is answered.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    baselines::HostPython,
    client::{Connection, Request},
    forks::{ForkProfile, Forkers},
    latency,
    paths::PathTimes,
    programs::Program,
    progress,
    server::Server,
    statistics::{Summary, float, median},
};

/// Numbers of clients.
pub(super) const CLIENTS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Before anything counts, so that pools have found their sizes.
const RAMP: Duration = Duration::from_millis(500);
/// Where the raw rate is measured a second time: next to the number of clients that the goal is about.
const AMID: usize = 16;
/// The longest time for one number of clients, where programs take seconds.
const LONGEST: Duration = Duration::from_secs(30);

/// What is measured, and what of the host it is compared with.
const LOADS: [(Program, ForkProfile); 2] =
    [(Program::Hello, ForkProfile::Bare), (Program::Pandas, ForkProfile::Pandas)];

/// One number of clients.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadPoint {
    pub(super) clients: usize,
    /// Executions answered in a second.
    pub(super) per_second: f64,
    #[serde(flatten)]
    pub(super) times: Option<Summary>,
    pub(super) paths: BTreeMap<&'static str, Summary>,
}

/// One program under growing load.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThroughputReport {
    pub(super) program: Program,
    pub(super) points: Vec<LoadPoint>,
    pub(super) raw: RawRate,
}

/// Forks in a second by two interpreters at once that have imported the same, with nothing else to do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawRate {
    pub(super) profile: ForkProfile,
    /// The median of `runs`.
    pub(super) per_second: Option<f64>,
    /// Measured before, amid and after the loads.
    pub(super) runs: Vec<f64>,
    /// Why it could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unavailable: Option<String>,
}

impl RawRate {
    fn measure(&mut self, python: &HostPython, time: Duration) {
        if self.unavailable.is_some() {
            return;
        }
        // For each run anew: waiting beside the loads, they would only take memory.
        match Forkers::start(python, self.profile).and_then(|mut forkers| forkers.rate(time.as_secs_f64())) {
            Ok(rate) => self.runs.push(rate),
            Err(error) => self.unavailable = Some(format!("{error:#}")),
        }
        self.per_second = median(&self.runs);
    }
}

/// Measures all numbers of clients, for `time` each, and the raw rate in between.
pub(super) async fn measure(
    server: &Server,
    python: &HostPython,
    time: Duration,
) -> anyhow::Result<Vec<ThroughputReport>> {
    let mut reports = LOADS.map(|(program, profile)| {
        let raw = RawRate { profile, per_second: None, runs: Vec::new(), unavailable: None };
        ThroughputReport { program, points: Vec::new(), raw }
    });
    raw_rates(&mut reports, python, time);
    for clients in CLIENTS {
        if clients == AMID {
            raw_rates(&mut reports, python, time);
        }
        for report in &mut reports {
            progress(format_args!("throughput: {} with {clients} clients", report.program.title()));
            let request = latency::request(server, report.program);
            report.points.push(load_long_enough(server, &request, clients, time).await?);
        }
    }
    raw_rates(&mut reports, python, time);
    Ok(reports.into())
}

fn raw_rates(reports: &mut [ThroughputReport], python: &HostPython, time: Duration) {
    for ThroughputReport { raw, .. } in reports {
        progress(format_args!("throughput: the raw rate of forks, {:?}", raw.profile));
        raw.measure(python, time);
    }
}

/// For `time`, or for as long as it takes until each client has had two answers.
async fn load_long_enough(
    server: &Server,
    request: &Request,
    clients: usize,
    mut time: Duration,
) -> anyhow::Result<LoadPoint> {
    loop {
        let point = load(server, request, clients, time).await?;
        let answers = point.times.map_or(0, |times| times.samples);
        if answers >= 2 * clients || time >= LONGEST {
            return Ok(point);
        }
        time = (time * 3).min(LONGEST);
    }
}

async fn load(server: &Server, request: &Request, clients: usize, time: Duration) -> anyhow::Result<LoadPoint> {
    let mut tasks = JoinSet::new();
    let begin = Instant::now() + RAMP;
    let end = begin + time;
    for _ in 0..clients {
        let (mut connection, request) = (Connection::open(server.address).await?, request.clone());
        tasks.spawn(async move {
            let mut times = PathTimes::default();
            while Instant::now() < end {
                let (took, result) = connection.execute(&request).await?;
                if (begin..end).contains(&Instant::now()) {
                    times.push(result.path(), took);
                }
            }
            anyhow::Ok(times)
        });
    }
    let mut times = PathTimes::default();
    while let Some(task) = tasks.join_next().await {
        times.append(task.context("a client of the bench broke")??);
    }
    let all = times.all();
    Ok(LoadPoint {
        clients,
        per_second: float(all.len()) / time.as_secs_f64(),
        times: Summary::of(&all),
        paths: times.summaries(),
    })
}
