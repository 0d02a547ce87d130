//! One after the other: how long a program takes in each of several ways, taking turns so that noise hits all alike.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use aevatar_sandbox::StartPath;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    baselines::{self, HostPython, WarmInterpreter},
    client::{Connection, Request},
    paths::PathTimes,
    programs::Program,
    progress,
    server::{Server, ServerOptions},
    statistics::{Summary, median},
};

/// How long one turn may take, if it is of more than one run.
const TURN: Duration = Duration::from_millis(200);
/// What takes longer than this has fewer turns.
const SLOW: Duration = Duration::from_millis(500);
/// It takes part in every n-th round.
const SLOW_EVERY: usize = 3;

/// A way of running a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Way {
    /// Over HTTP, with the server's defaults.
    Sandbox,
    /// Over HTTP, with a tenth of a CPU.
    SandboxTenth,
    /// Over HTTP, in a fresh interpreter.
    SandboxCold,
    /// `aevatar-sandbox run`, from the start of the process to its end.
    CommandLine,
    /// The same with a disk that fits into memory, so that no disk image is used.
    CommandLineInMemory,
    /// Plain `python -c`.
    Python,
    /// `python -c` in bubblewrap.
    Bubblewrap,
    /// `exec` in an interpreter that has run the same before, without any isolation.
    WarmInterpreter,
}

impl Way {
    /// What tables call it.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::SandboxTenth => "at 100m",
            Self::SandboxCold => "cold",
            Self::CommandLine => "run",
            Self::CommandLineInMemory => "run --disk 4Mi",
            Self::Python => "python",
            Self::Bubblewrap => "bwrap+python",
            Self::WarmInterpreter => "warm exec",
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Turns of every way.
    pub(super) rounds: usize,
    /// Runs in a row in each turn, where [`TURN`] is enough for them: as a client sends one after the other, which
    /// leaves the server no rest between them.
    pub(super) burst: usize,
    /// How long to wait until no program starts cold any more.
    pub(super) warm_up: Duration,
}

/// What was measured of one way of running a program.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WayReport {
    pub(super) way: Way,
    /// Nothing when it could not be measured.
    #[serde(flatten)]
    pub(super) times: Option<Summary>,
    /// Why it could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unavailable: Option<String>,
    /// The same times by how the interpreter was started; of executions by the server only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) paths: BTreeMap<&'static str, Summary>,
    /// Median of what the server says about the time before the program's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) startup_p50_ms: Option<f64>,
}

/// What was measured of one program.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LatencyReport {
    pub(super) program: Program,
    pub(super) code: &'static str,
    /// Whether it still started in a fresh interpreter when the warm-up ended.
    pub(super) stayed_cold: bool,
    pub(super) ways: Vec<WayReport>,
}

impl LatencyReport {
    pub(super) fn way(&self, way: Way) -> Option<&WayReport> {
        self.ways.iter().find(|report| report.way == way)
    }

    pub(super) fn times(&self, way: Way) -> Option<Summary> {
        self.way(way)?.times
    }
}

/// What is needed to run a program in one way.
#[derive(Debug)]
enum Runner {
    Http(Request),
    Command(Box<Command>),
    Warm(WarmInterpreter),
}

/// One way of running one program, and the times so far.
#[derive(Debug)]
struct Contender {
    way: Way,
    runner: Result<Runner, String>,
    /// Runs in a row, in each of its turns.
    burst: usize,
    /// It takes part in every n-th round.
    every: usize,
    times: Vec<Duration>,
    paths: PathTimes,
    startups: Vec<f64>,
}

impl Contender {
    async fn measure(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let Ok(runner) = &mut self.runner else { return Ok(()) };
        let took = match runner {
            Runner::Http(request) => {
                let (took, result) = connection.execute(request).await?;
                self.paths.push(result.path(), took);
                self.startups.push(result.usage.startup_ms);
                took
            }
            Runner::Command(command) => baselines::time(command)?,
            Runner::Warm(interpreter) => interpreter.time()?,
        };
        self.times.push(took);
        Ok(())
    }

    /// Runs a few times without counting, and finds out how many runs are a turn of at most `burst`. What cannot be
    /// compared with is said, and does not end the bench; the sandbox itself must work.
    async fn try_out(&mut self, connection: &mut Connection, burst: usize) -> anyhow::Result<()> {
        let begin = Instant::now();
        while self.runner.is_ok() && self.times.len() < burst && begin.elapsed() < TURN {
            if let Err(error) = self.measure(connection).await {
                if matches!(self.way, Way::Sandbox | Way::SandboxTenth) {
                    return Err(error);
                }
                self.runner = Err(format!("{error:#}"));
            }
        }
        // The first run fills caches.
        let usual = self.times.iter().min().copied().unwrap_or_default();
        self.burst =
            (1..=burst).rev().find(|runs| usual * u32::try_from(*runs).unwrap_or(u32::MAX) <= TURN).unwrap_or(1);
        self.every = if usual > SLOW { SLOW_EVERY } else { 1 };
        (self.times, self.paths, self.startups) = (Vec::new(), PathTimes::default(), Vec::new());
        Ok(())
    }

    fn report(self) -> WayReport {
        WayReport {
            way: self.way,
            times: Summary::of(&self.times),
            unavailable: self.runner.err(),
            paths: self.paths.summaries(),
            startup_p50_ms: median(&self.startups),
        }
    }
}

/// The request of a program with the server's defaults.
pub(super) fn request(server: &Server, program: Program) -> Request {
    Request::execute(server.address, &json!({ "code": program.code() }))
}

fn request_with(server: &Server, program: Program, name: &str, value: Value) -> Request {
    let mut body = json!({ "code": program.code() });
    if let Some(body) = body.as_object_mut() {
        body.insert(name.to_owned(), value);
    }
    Request::execute(server.address, &body)
}

/// The ways that a program is run in.
fn contenders(program: Program, server: &Server, options: &ServerOptions, python: &HostPython) -> Vec<Contender> {
    let new = |way, runner| Contender {
        way,
        runner,
        burst: 1,
        every: 1,
        times: Vec::new(),
        paths: PathTimes::default(),
        startups: Vec::new(),
    };
    let http = |request| Ok(Runner::Http(request));
    let command = |command| Ok(Runner::Command(Box::new(command)));
    let cold = request_with(server, program, "isolation", json!({ "zygote": "off" }));
    let mut contenders = vec![
        new(Way::Sandbox, http(request(server, program))),
        new(Way::SandboxCold, http(cold)),
        new(Way::Python, command(python.plain(program))),
    ];
    // It would have to find the host's fonts each time, as it may write nowhere.
    if program != Program::Matplotlib {
        contenders.push(new(Way::Bubblewrap, command(python.bubblewrap(program))));
    }
    match program {
        Program::Hello => {
            let run = |more: &[&str]| {
                let mut run = options.command("run");
                run.args(more).args(["-c", program.code()]);
                run
            };
            contenders.push(new(Way::CommandLine, command(run(&[]))));
            contenders.push(new(Way::CommandLineInMemory, command(run(&["--disk", "4Mi"]))));
        }
        Program::Describe => {
            let tenth = request_with(server, program, "resources", json!({ "cpuLimit": "100m" }));
            contenders.push(new(Way::SandboxTenth, http(tenth)));
            let warm = python.warm(program).map(Runner::Warm).map_err(|error| format!("{error:#}"));
            contenders.push(new(Way::WarmInterpreter, warm));
        }
        _ => {}
    }
    contenders
}

/// Sends each program until none starts cold any more; those that still do after `patience`.
pub(super) async fn warm_up(server: &Server, programs: &[Program], patience: Duration) -> anyhow::Result<Vec<Program>> {
    let mut connection = Connection::open(server.address).await?;
    let deadline = Instant::now() + patience;
    let mut cold = programs.to_vec();
    loop {
        let mut still = Vec::new();
        for program in cold {
            let (_, result) = connection.execute(&request(server, program)).await?;
            if result.path() == StartPath::Cold {
                still.push(program);
            }
        }
        if still.is_empty() || Instant::now() >= deadline {
            return Ok(still);
        }
        cold = still;
        sleep(Duration::from_millis(100)).await;
    }
}

/// Measures `programs` on a server, in all ways.
pub(super) async fn measure(
    server: &Server,
    options: &ServerOptions,
    python: &HostPython,
    programs: &[Program],
    effort: Effort,
) -> anyhow::Result<Vec<LatencyReport>> {
    progress(format_args!(
        "latency: warming up {} programs, for at most {} s",
        programs.len(),
        effort.warm_up.as_secs()
    ));
    let cold = warm_up(server, programs, effort.warm_up).await?;
    let mut works: Vec<(Program, Vec<Contender>)> =
        programs.iter().map(|program| (*program, contenders(*program, server, options, python))).collect();
    let mut connection = Connection::open(server.address).await?;
    for contender in works.iter_mut().flat_map(|(_, contenders)| contenders) {
        contender.try_out(&mut connection, effort.burst).await?;
    }
    for round in 0..effort.rounds {
        progress(format_args!("latency: round {} of {}", round + 1, effort.rounds));
        for (_, contenders) in &mut works {
            for contender in contenders.iter_mut().filter(|contender| round.is_multiple_of(contender.every)) {
                for _ in 0..contender.burst {
                    contender.measure(&mut connection).await?;
                }
            }
            // Nobody always runs right after the same neighbour has filled the caches.
            contenders.reverse();
        }
    }
    let report = |(program, contenders): (Program, Vec<Contender>)| {
        let mut ways: Vec<WayReport> = contenders.into_iter().map(Contender::report).collect();
        ways.sort_by_key(|report| report.way);
        LatencyReport { program, code: program.code(), stayed_cold: cold.contains(&program), ways }
    };
    Ok(works.into_iter().map(report).collect())
}
