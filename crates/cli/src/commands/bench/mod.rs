//! `aevatar-sandbox bench`: how fast this host runs programs, beside what else runs Python.
//!
//! Everything is measured in one run, on one host, and said as ratios: times alone differ from machine to machine.

mod baselines;
mod client;
mod density;
mod footprint;
mod forks;
mod goals;
mod latency;
mod paths;
mod plot;
mod processes;
mod programs;
mod report;
mod server;
mod statistics;
mod svg;
mod table;
mod throughput;

#[cfg(test)]
mod sample;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use aevatar_sandbox::{
    EnvironmentSelection, ErrorCode, PythonEnvironment, PythonEnvironmentManager, SandboxError, TerminalProgress,
    configuration::ConfigurationOverride,
};
use anyhow::Context;
use clap::{Args, ValueEnum};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use self::{
    baselines::HostPython,
    density::Density,
    latency::{Effort, LatencyReport, Way},
    programs::Program,
    report::{BenchReport, Host},
    server::ServerOptions,
};
use super::{Isolation, PythonArgument, configured, errors};

/// Says on stderr what is being done.
fn progress(what: std::fmt::Arguments<'_>) {
    // If stderr is closed, nobody wants to know.
    drop(writeln!(io::stderr(), "bench: {what}"));
}

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// A shorter run, in one or two minutes: fewer rounds, 50 sandboxes at once rather than 500
    #[arg(long)]
    quick: bool,

    /// Print everything that was measured as one JSON object
    #[arg(long)]
    json: bool,

    /// Draw latencies and throughput as a picture
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,

    /// Measure only this; may be repeated
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,

    /// Of the latencies, measure only this program's; may be repeated
    #[arg(long, value_enum, value_name = "PROGRAM")]
    program: Vec<Program>,

    /// Rounds of the latencies [default: 20; 5 with --quick]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: Option<u32>,

    /// Seconds to wait until programs find a warm interpreter
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3600))]
    warm_up: u64,

    /// Where Python environments and disk images are kept [default: the user's cache]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// How much isolation to insist on [default: default]
    #[arg(long, value_enum, env = "AEVATAR_SANDBOX_ISOLATION")]
    isolation: Option<Isolation>,

    #[command(flatten)]
    python: PythonArgument,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One program after the other, beside plain Python and bubblewrap
    Latency,
    /// Many clients at once, beside the raw rate of forks
    Throughput,
    /// CPU time of a server that nobody asks for anything
    Idle,
    /// Many sandboxes alive at once
    Density,
    /// Private memory of parked workers
    Memory,
}

/// How much is measured of each part.
#[derive(Clone, Copy, Debug)]
struct Plan {
    effort: Effort,
    /// Of each number of clients, and of each run of raw forks.
    load: Duration,
    idle: Duration,
    density: Density,
}

impl BenchArguments {
    fn overrides(&self) -> Vec<ConfigurationOverride> {
        let mut overrides = Vec::new();
        overrides.extend(
            self.data_dir
                .iter()
                .map(|folder| ConfigurationOverride::new("DataDir", folder.display().to_string(), "--data-dir")),
        );
        overrides.extend(self.isolation.map(configured::isolation));
        overrides.extend(self.python.python.iter().map(|python| configured::python(python)));
        overrides
    }

    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// In the order of tables, each once.
    fn programs(&self) -> Vec<Program> {
        let chosen = |program: &Program| self.program.is_empty() || self.program.contains(program);
        Program::ALL.into_iter().filter(chosen).collect()
    }

    fn plan(&self) -> Plan {
        let (rounds, burst) = if self.quick { (5, 10) } else { (20, 20) };
        let rounds = self.rounds.and_then(|rounds| usize::try_from(rounds).ok()).unwrap_or(rounds);
        let effort = Effort { rounds, burst, warm_up: Duration::from_secs(self.warm_up) };
        let seconds = Duration::from_secs;
        if self.quick {
            let density = Density { sandboxes: 50, sleep: seconds(8), probes: 50 };
            Plan { effort, load: seconds(1), idle: seconds(10), density }
        } else {
            let density = Density { sandboxes: 500, sleep: seconds(20), probes: 200 };
            Plan { effort, load: seconds(4), idle: seconds(60), density }
        }
    }
}

pub(crate) fn run(arguments: &BenchArguments) -> anyhow::Result<ExitCode> {
    let configuration = configured::load(None, arguments.overrides())?;
    let data_folder = std::path::absolute(configured::data_folder(&configuration)?)
        .context("the folder for environments has no absolute path")?;
    // A bare name is looked up on PATH; everything else must mean the same in the server's working directory.
    let python =
        configuration.python.map(|python| if is_bare(&python) { Ok(python) } else { std::path::absolute(python) });
    let python = python.transpose().context("the interpreter has no absolute path")?;
    let options = ServerOptions { data_folder, python, isolation: configuration.isolation };
    match measure_until_interrupted(arguments, &options) {
        Ok(report) => {
            print(arguments, &report)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.is::<Interrupted>() => {
            progress(format_args!("interrupted; nothing was measured to the end"));
            Ok(ExitCode::from(errors::CANCELLED))
        }
        Err(error) => {
            // What to do is said as for every verb; the code says only that nothing was measured.
            let _ = errors::report(&error);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn is_bare(python: &Path) -> bool {
    python.parent().is_some_and(|parent| parent.as_os_str().is_empty())
}

/// SIGINT or SIGTERM came.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

fn measure_until_interrupted(arguments: &BenchArguments, options: &ServerOptions) -> anyhow::Result<BenchReport> {
    raise_descriptor_limit();
    // One thread: the load generator shares the CPUs with what it measures.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start the runtime")?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let interrupted = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        tokio::pin!(interrupted);
        let measured = tokio::select! {
            biased;
            () = &mut interrupted => return Err(Interrupted.into()),
            measured = measure(arguments, options) => measured,
        };
        match measured {
            // Ctrl-C in a terminal also ends the children that are measured, which may be noticed first.
            Err(_) if tokio::time::timeout(Duration::from_millis(100), interrupted).await.is_ok() => {
                Err(Interrupted.into())
            }
            measured => measured,
        }
    })
}

async fn measure(arguments: &BenchArguments, options: &ServerOptions) -> anyhow::Result<BenchReport> {
    let (started_at, begin) = (jiff::Timestamp::now(), Instant::now());
    let environment = environment(options)?;
    let host = Host::look(&environment);
    let python = HostPython::new(&environment)?;
    let mut report = BenchReport {
        version: env!("CARGO_PKG_VERSION"),
        host,
        started_at,
        duration_seconds: 0.0,
        quick: arguments.quick,
        goals: Vec::new(),
        latency: Vec::new(),
        throughput: Vec::new(),
        parked: Vec::new(),
        idle: None,
        density: None,
        notes: Vec::new(),
    };
    measure_parts(arguments, options, &python, &mut report).await?;
    report.goals = goals::goals(&report);
    report.notes = notes(&report);
    report.duration_seconds = begin.elapsed().as_secs_f64();
    Ok(report)
}

/// Measures what was asked for. Most of it on one server, each part on one that the parts before have warmed up.
async fn measure_parts(
    arguments: &BenchArguments,
    options: &ServerOptions,
    python: &HostPython,
    report: &mut BenchReport,
) -> anyhow::Result<()> {
    let plan = arguments.plan();
    let patience = plan.effort.warm_up;
    if [Part::Latency, Part::Throughput, Part::Idle, Part::Density].into_iter().any(|part| arguments.wants(part)) {
        progress(format_args!("starting a server"));
        let server = options.start().await?;
        if arguments.wants(Part::Idle) {
            // Before any load: after one, a server makes its pools as small as they were.
            latency::warm_up(&server, &[Program::Hello, Program::Numpy, Program::Pandas], patience).await?;
            report.idle = Some(footprint::idle(&server, plan.idle).await?);
        }
        if arguments.wants(Part::Latency) {
            report.latency = latency::measure(&server, options, python, &arguments.programs(), plan.effort).await?;
        } else {
            latency::warm_up(&server, &[Program::Hello, Program::Numpy, Program::Pandas], patience).await?;
        }
        if arguments.wants(Part::Throughput) {
            report.throughput = throughput::measure(&server, python, plan.load).await?;
        }
        if arguments.wants(Part::Density) {
            report.density = Some(density::measure(&server, plan.density).await?);
        }
        server.stop()?;
    }
    if arguments.wants(Part::Memory) {
        for program in [Program::Hello, Program::All] {
            report.parked.push(footprint::parked(options, program, patience).await?);
        }
    }
    Ok(())
}

fn environment(options: &ServerOptions) -> anyhow::Result<PythonEnvironment> {
    let selection = EnvironmentSelection { python: options.python.clone(), ..EnvironmentSelection::default() };
    let manager = PythonEnvironmentManager::new(options.data_folder.clone());
    manager.prepare(&selection, &TerminalProgress::new()).map_err(|error| {
        SandboxError::new(ErrorCode::EnvironmentUnavailable, error.to_string())
            .with_hint(error.hint())
            .with_source(error)
            .into()
    })
}

/// What makes numbers worth less than they look, and what could not be measured.
fn notes(report: &BenchReport) -> Vec<String> {
    let mut notes = Vec::new();
    if cfg!(debug_assertions) {
        notes.push("this is a debug build, which is slower than what is delivered: build with `--release`".to_owned());
    }
    let load = report.host.load_average;
    if load > 0.5 {
        notes.push(format!("the host was busy before the bench began (load {load:.2}): trust ratios, not times"));
    }
    let cold: Vec<&str> =
        report.latency.iter().filter(|latency| latency.stayed_cold).map(|latency| latency.program.title()).collect();
    if !cold.is_empty() {
        notes.push(format!("stayed cold, as no warm interpreter was found: {}", cold.join("; ")));
    }
    // By the way and the reason: what is missing is mostly missing for all programs.
    let mut missing: BTreeMap<(Way, &str), Vec<&str>> = BTreeMap::new();
    for LatencyReport { program, ways, .. } in &report.latency {
        for way in ways {
            if let Some(why) = &way.unavailable {
                missing.entry((way.way, why)).or_default().push(program.title());
            }
        }
    }
    for ((way, why), programs) in missing {
        let hint = if way == Way::Bubblewrap && why.starts_with("could not start") {
            " (to compare with bubblewrap, install it: `apt-get install bubblewrap`)"
        } else {
            ""
        };
        notes.push(format!("{}, not measured of {}: {why}{hint}", way.title(), programs.join("; ")));
    }
    for throughput in &report.throughput {
        if let Some(why) = &throughput.raw.unavailable {
            notes.push(format!("raw forks, {:?}: not measured: {why}", throughput.raw.profile));
        }
    }
    notes.extend(report.density.as_ref().and_then(|density| density.first_error.clone()));
    notes
}

fn print(arguments: &BenchArguments, report: &BenchReport) -> anyhow::Result<()> {
    let text = if arguments.json {
        let mut text = serde_json::to_string_pretty(report).context("could not write the report as JSON")?;
        text.push('\n');
        text
    } else {
        table::text(report)
    };
    // Whoever closed our stdout does not want it.
    drop(io::stdout().write_all(text.as_bytes()));
    if let Some(file) = &arguments.plot {
        match plot::svg(report) {
            Some(picture) => fs_err::write(file, picture).context("could not write the plot")?,
            None => progress(format_args!(
                "no plot was written: neither latencies nor throughput were measured, so `--only` leaves nothing to draw"
            )),
        }
    }
    Ok(())
}

/// Many clients take many descriptors.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // With too few, the clients fail, and say so.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArguments,
    }

    fn parse(arguments: &[&str]) -> Result<BenchArguments, clap::Error> {
        Line::try_parse_from([&["bench"], arguments].concat()).map(|line| line.bench)
    }

    #[test]
    fn without_arguments_everything_is_measured() {
        let arguments = parse(&[]).unwrap();
        assert_eq!(arguments.programs(), Program::ALL);
        for part in Part::value_variants() {
            assert!(arguments.wants(*part));
        }
        let plan = arguments.plan();
        assert_eq!((plan.effort.rounds, plan.density.sandboxes, plan.idle.as_secs()), (20, 500, 60));
    }

    #[test]
    fn a_quick_one_does_less() {
        let plan = parse(&["--quick"]).unwrap().plan();
        assert_eq!((plan.effort.rounds, plan.density.sandboxes, plan.idle.as_secs()), (5, 50, 10));
        let plan = parse(&["--quick", "--rounds", "2", "--warm-up", "0"]).unwrap().plan();
        assert_eq!((plan.effort.rounds, plan.effort.warm_up), (2, Duration::ZERO));
    }

    #[test]
    fn parts_and_programs_are_chosen_in_any_order() {
        let arguments = ["--only", "memory", "--only", "latency", "--program", "all", "--program", "hello"];
        let arguments = parse(&arguments).unwrap();
        assert!(arguments.wants(Part::Memory) && arguments.wants(Part::Latency) && !arguments.wants(Part::Idle));
        assert_eq!(arguments.programs(), [Program::Hello, Program::All]);
    }

    #[test]
    fn nonsense_is_refused() {
        for nonsense in [
            &["--rounds", "0"][..],
            &["--rounds", "-1"],
            &["--rounds", "many"],
            &["--only", "everything"],
            &["--program", "perl"],
            &["--warm-up", "99999"],
            &["--plot"],
            &["more"],
        ] {
            assert!(parse(nonsense).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn a_name_is_told_from_a_path() {
        assert!(is_bare(Path::new("python3.12")));
        assert!(!is_bare(Path::new("./python3")) && !is_bare(Path::new("/usr/bin/python3")));
    }

    #[test]
    fn notes_tell_what_is_missing() {
        let mut report = sample::report();
        report.host.load_average = 3.0;
        report.latency[0].stayed_cold = true;
        report.latency[0].ways[3].unavailable = Some("could not start `bwrap`: not found".to_owned());
        let notes = notes(&report).join("\n");
        for told in ["busy", "stayed cold", "apt-get install bubblewrap", "clone3: not permitted"] {
            assert!(notes.contains(told), "{told}: {notes}");
        }
    }
}
