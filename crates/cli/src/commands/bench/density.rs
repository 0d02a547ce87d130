//! Many sandboxes alive at once that only sleep: do they all complete, what do they take, and does a new one still
//! start quickly?

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

use super::{
    client::{Connection, ExecutionResult, Request},
    latency,
    processes::{available_memory, cpu_time, tree},
    programs::Program,
    progress,
    server::Server,
    statistics::{Summary, float, mebibytes, median},
};

/// How many, for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Density {
    pub(super) sandboxes: usize,
    /// How long each sleeps: all must have started well before the first one ends.
    pub(super) sleep: Duration,
    /// Programs that are sent while they sleep, and before.
    pub(super) probes: usize,
}

/// Between two looks at the server's processes.
const LOOK: Duration = Duration::from_millis(500);
/// CPU time that the server's processes take in that time, at most, when nothing starts any more: two ticks.
const QUIET: Duration = Duration::from_millis(20);

/// What was measured of many sandboxes at once.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DensityReport {
    /// Programs that were sent.
    pub(super) sandboxes: usize,
    /// Programs that ended with exit code 0.
    pub(super) completed: usize,
    /// The most that ran at the same moment, by the start and end that their results tell.
    pub(super) alive_at_once: usize,
    /// What is wrong with those that did not complete: the first one's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_error: Option<String>,
    /// From the first request to the last start.
    pub(super) all_started_ms: f64,
    /// By how much the host's available memory shrank, for each sandbox that was alive then: the kernel's part and all,
    /// and what others on the host took or gave back meanwhile.
    pub(super) host_memory_mib_each: f64,
    /// Median of the peaks that the sandboxes' own cgroups counted.
    pub(super) peak_memory_mib_p50: Option<f64>,
    /// The larger of the two: what is believed.
    pub(super) memory_mib_each: f64,
    /// `print("hi")` before.
    pub(super) hello_empty: Option<Summary>,
    /// `print("hi")` while all of them sleep.
    pub(super) hello_full: Option<Summary>,
}

pub(super) async fn measure(server: &Server, density: Density) -> anyhow::Result<DensityReport> {
    let Density { sandboxes, sleep: length, probes } = density;
    progress(format_args!("density: {sandboxes} sandboxes at once"));
    let hello = latency::request(server, Program::Hello);
    let mut connection = Connection::open(server.address).await?;
    let hello_empty = probe(&mut connection, &hello, probes).await?;
    let processes_before = tree(server.pid())?.len();
    let memory_before = available_memory()?;

    let code = format!("import numpy, time; time.sleep({})", length.as_secs_f64());
    let request = Request::execute(server.address, &json!({ "code": code, "timeout": 4.0 * length.as_secs_f64() }));
    let (sent_at, sent) = (jiff::Timestamp::now(), Instant::now());
    let mut tasks = JoinSet::new();
    for _ in 0..sandboxes {
        let (address, request) = (server.address, request.clone());
        tasks.spawn(async move { anyhow::Ok(Connection::open(address).await?.execute(&request).await?.1) });
    }
    wait_until_asleep(server, processes_before + sandboxes, sent + length * 3 / 5).await?;
    let (memory_full, measured_at) = (available_memory()?, jiff::Timestamp::now());
    let hello_full = probe(&mut connection, &hello, probes).await?;

    let mut results: Vec<ExecutionResult> = Vec::new();
    let mut first_error = None;
    while let Some(task) = tasks.join_next().await {
        match task.context("a client of the bench broke")? {
            Ok(result) => results.push(result),
            Err(error) => first_error = first_error.or_else(|| Some(format!("{error:#}"))),
        }
    }
    ensure!(!results.is_empty(), "no sandbox of {sandboxes} completed: {}", first_error.unwrap_or_default());
    let peaks = results.iter().filter_map(|result| result.usage.peak_memory_bytes).map(mebibytes);
    let peak_memory_mib_p50 = median(&peaks.collect::<Vec<_>>());
    let alive = results.iter().filter(|result| is_alive(result, measured_at)).count();
    let host_memory_mib_each = mebibytes(memory_before.saturating_sub(memory_full)) / float(alive.max(1));
    let last_start = results.iter().filter_map(|result| result.started_at).max();
    Ok(DensityReport {
        sandboxes,
        completed: results.len(),
        alive_at_once: alive_at_once(&results),
        first_error,
        all_started_ms: last_start.map_or(0.0, |start| start.duration_since(sent_at).as_secs_f64() * 1000.0),
        host_memory_mib_each,
        peak_memory_mib_p50,
        memory_mib_each: host_memory_mib_each.max(peak_memory_mib_p50.unwrap_or(0.0)),
        hello_empty,
        hello_full,
    })
}

async fn probe(connection: &mut Connection, hello: &Request, probes: usize) -> anyhow::Result<Option<Summary>> {
    let mut times = Vec::with_capacity(probes);
    for _ in 0..probes {
        times.push(connection.execute(hello).await?.0);
    }
    Ok(Summary::of(&times))
}

/// Waits until the server's tree has at least so many `processes` and takes no CPU time any more, or until the deadline.
/// A sandbox is at least one process more; parked ones that are taken hide some.
async fn wait_until_asleep(server: &Server, processes: usize, deadline: Instant) -> anyhow::Result<()> {
    let mut last = cpu_time(&tree(server.pid())?);
    while Instant::now() < deadline {
        sleep(LOOK).await;
        let tree = tree(server.pid())?;
        let now = cpu_time(&tree);
        if tree.len() >= processes && now.saturating_sub(last) <= QUIET {
            break;
        }
        last = now;
    }
    Ok(())
}

fn is_alive(result: &ExecutionResult, at: jiff::Timestamp) -> bool {
    result.started_at.is_some_and(|start| start <= at && at < result.finished_at)
}

/// The most executions that had started and not yet ended at one moment.
fn alive_at_once(results: &[ExecutionResult]) -> usize {
    let mut moments: Vec<(jiff::Timestamp, bool)> = Vec::new();
    for result in results {
        moments.extend(result.started_at.map(|start| (start, true)));
        moments.extend(result.started_at.map(|_| (result.finished_at, false)));
    }
    // At the same moment, an end comes before a start.
    moments.sort_unstable();
    let (mut alive, mut most) = (0_usize, 0);
    for (_, starts) in moments {
        alive = if starts { alive + 1 } else { alive.saturating_sub(1) };
        most = most.max(alive);
    }
    most
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn ran(start: Option<u32>, end: u32) -> ExecutionResult {
        let time = |second: u32| format!("2026-01-01T00:00:{second:02}Z");
        serde_json::from_value(json!({
            "exitCode": 0,
            "termination": { "message": "" },
            "usage": { "startupMs": 1.0, "peakMemoryBytes": null },
            "start": Value::Null,
            "startedAt": start.map(time),
            "finishedAt": time(end),
        }))
        .unwrap()
    }

    #[test]
    fn those_that_overlap_are_counted() {
        assert_eq!(alive_at_once(&[]), 0);
        assert_eq!(alive_at_once(&[ran(Some(1), 2), ran(Some(2), 3)]), 1);
        assert_eq!(alive_at_once(&[ran(Some(1), 5), ran(Some(2), 4), ran(Some(3), 9), ran(Some(6), 7)]), 3);
        assert_eq!(alive_at_once(&[ran(None, 5), ran(Some(2), 4)]), 1);
        let at = ran(Some(3), 3).finished_at;
        assert!(is_alive(&ran(Some(3), 4), at) && !is_alive(&ran(Some(2), 3), at) && !is_alive(&ran(None, 9), at));
    }
}
