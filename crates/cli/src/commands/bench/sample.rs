//! A report for tests, with everything that a report can have.

use std::{collections::BTreeMap, time::Duration};

use super::{
    density::DensityReport,
    footprint::{IdleReport, ParkedReport},
    forks::ForkProfile,
    goals,
    latency::{LatencyReport, Way, WayReport},
    programs::Program,
    report::{BenchReport, Host},
    statistics::Summary,
    throughput::{CLIENTS, LoadPoint, RawRate, ThroughputReport},
};

/// Of times of which one in fifty is six times as long.
fn summary(milliseconds: u64) -> Summary {
    let time =
        |number: u64| Duration::from_millis(if number.is_multiple_of(50) { 6 * milliseconds } else { milliseconds });
    Summary::of(&(0..100).map(time).collect::<Vec<_>>()).unwrap()
}

fn way(way: Way, milliseconds: u64) -> WayReport {
    let paths = match way {
        Way::Sandbox => BTreeMap::from([("forked", summary(milliseconds * 2)), ("parked", summary(milliseconds))]),
        _ => BTreeMap::new(),
    };
    let times = Some(summary(milliseconds));
    WayReport { way, times, unavailable: None, paths, startup_p50_ms: None }
}

fn program(program: Program, times: &[(Way, u64)]) -> LatencyReport {
    let ways = times.iter().map(|(name, milliseconds)| way(*name, *milliseconds)).collect();
    LatencyReport { program, code: program.code(), stayed_cold: false, ways }
}

fn throughput(program: Program, profile: ForkProfile, raw: Option<f64>) -> ThroughputReport {
    let points = CLIENTS.map(|clients| LoadPoint {
        clients,
        per_second: 600.0,
        times: Some(summary(5)),
        paths: BTreeMap::from([("parked", summary(5))]),
    });
    let unavailable = raw.is_none().then(|| "clone3: not permitted".to_owned());
    let raw = RawRate { profile, per_second: raw, runs: raw.into_iter().collect(), unavailable };
    ThroughputReport { program, points: points.into(), raw }
}

pub(super) fn report() -> BenchReport {
    let basic = |times: [u64; 4]| {
        let ways = [Way::Sandbox, Way::SandboxCold, Way::Python, Way::Bubblewrap];
        ways.into_iter().zip(times).collect::<Vec<_>>()
    };
    let describe = [basic([8, 360, 330, 340]), vec![(Way::SandboxTenth, 9), (Way::WarmInterpreter, 2)]].concat();
    let parked = |program: Program, sizes: &[f64], size| ParkedReport {
        program,
        sandboxes_mib: sizes.to_vec(),
        profile_mib: Some(size),
        unavailable: None,
    };
    let mut report = BenchReport {
        version: "0.1.0",
        host: Host {
            kernel: "6.18.0".to_owned(),
            architecture: "x86_64".to_owned(),
            cpus: 2,
            cpu_model: "A <fast> & \"good\" CPU".to_owned(),
            memory_mib: 8192.0,
            root: true,
            python: "3.11.7".to_owned(),
            load_average: 0.25,
        },
        started_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        duration_seconds: 321.0,
        quick: false,
        goals: Vec::new(),
        latency: vec![
            program(Program::Hello, &basic([2, 30, 11, 24])),
            program(Program::Describe, &describe),
            program(Program::All, &basic([12, 1700, 1600, 1650])),
        ],
        throughput: vec![
            throughput(Program::Hello, ForkProfile::Bare, Some(1000.0)),
            throughput(Program::Pandas, ForkProfile::Pandas, None),
        ],
        parked: vec![parked(Program::Hello, &[2.5, 2.6], 2.5), parked(Program::All, &[2.5, 11.0], 11.0)],
        idle: Some(IdleReport { seconds: 60.0, processes: 9, cpu_time_ms: 120.0, percent_of_core: 0.2 }),
        density: Some(DensityReport {
            sandboxes: 500,
            completed: 500,
            alive_at_once: 500,
            first_error: None,
            all_started_ms: 2500.0,
            host_memory_mib_each: 9.5,
            peak_memory_mib_p50: Some(5.5),
            memory_mib_each: 9.5,
            hello_empty: Some(summary(2)),
            hello_full: Some(summary(3)),
        }),
        notes: vec!["this is a debug build".to_owned()],
    };
    report.goals = goals::goals(&report);
    report
}
