//! A server in a place of its own.

use std::{collections::BTreeSet, ffi::OsStr, net::SocketAddr, path::PathBuf, process::Command};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::client::{Answer, Ask, Connection, Request};
use crate::{
    host::{self, Process},
    place::{Outcome, Place},
    running::Running,
};

/// What the log says in front of the address.
const LISTENING: &str = "listening on http://";

/// Dropping it stops it with SIGTERM and looks for what it left.
pub(super) struct Server {
    running: Option<Running>,
    pid: u32,
    pub(super) address: SocketAddr,
    pub(super) place: Place,
}

/// Arguments and environment of `serve` on a free port of the loopback, unless they say otherwise.
pub(super) fn command(place: &Place, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = place.command(&[&["serve"], arguments].concat());
    command.envs(settings.iter().map(|(name, value)| (format!("PythonSandbox__{name}"), OsStr::new(value))));
    if !arguments.contains(&"--port") {
        command.args(["--port", "0"]);
    }
    command
}

/// Where a server that was just started listens.
pub(super) fn address(running: &mut Running) -> SocketAddr {
    // A line ends after it, or in JSON the message.
    let found = |log: &str| log.split_once(LISTENING)?.1.split_once(['\n', '"'])?.0.trim().parse().ok();
    host::eventually("a server that listens", || {
        let ended = running.has_ended();
        let log = running.stderr();
        assert!(!ended || log.contains(LISTENING), "the server has ended: {log}");
        found(&log)
    })
}

/// Whether a line of the log is this message and nothing else, as text or as JSON.
fn says(log: &str, message: &str) -> bool {
    let (text, json) = (format!(" {message}"), format!("\"message\":\"{message}\""));
    log.lines().any(|line| line.ends_with(&text) || line.contains(&json))
}

impl Server {
    pub(super) fn start() -> Self {
        Self::with(&[])
    }

    /// With settings: `("MaxConcurrentExecutions", "1")`.
    pub(super) fn with(settings: &[(&str, &str)]) -> Self {
        let place = Place::new();
        let command = command(&place, &[], settings);
        let server = Self::of(place, command);
        server.wait_until_ready();
        server
    }

    /// `command`, which must be `serve` in `place`.
    pub(super) fn of(place: Place, command: Command) -> Self {
        let mut running = Running::start(command);
        let address = address(&mut running);
        Self { pid: running.pid(), running: Some(running), address, place }
    }

    /// Its own look at itself comes first: later, it would be seen among the programs of a test.
    fn wait_until_ready(&self) {
        host::eventually("a server that is ready", || says(&self.log(), "ready").then_some(()));
    }

    /// Waits until programs with these profiles need not start cold.
    pub(super) fn wait_until_warm(&self, profiles: &[&str]) {
        let ready = |name: &&str| self.warm_profile(name).is_some_and(|profile| profile["ready"] == true);
        host::eventually("zygotes", || profiles.iter().all(ready).then_some(()));
    }

    /// Waits until a worker of this profile is parked.
    pub(super) fn wait_until_parked(&self, profile: &str) {
        let is_parked = |profile: Value| profile["parked"].as_u64() > Some(0);
        host::eventually("a parked worker", || self.warm_profile(profile).is_some_and(is_parked).then_some(()));
    }

    fn warm_profile(&self, name: &str) -> Option<Value> {
        let capabilities = self.ask(&Request::get("/api/python/capabilities")).ok();
        capabilities["warm"]["profiles"].as_array()?.iter().find(|profile| profile["name"] == name).cloned()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it was not stopped yet")
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn log(&self) -> String {
        self.running().stderr()
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.running().signal(signal);
    }

    pub(super) fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    pub(super) fn ask(&self, request: &Request) -> Answer {
        self.connect().ask(request)
    }

    pub(super) fn execute(&self, body: &Value) -> Answer {
        self.ask(&Request::execute(body))
    }

    /// The result of a program.
    pub(super) fn run(&self, code: &str) -> Value {
        self.execute(&json!({ "code": code })).ok()
    }

    /// Starts a program that writes nothing until its end, and waits until its processes are there.
    pub(super) fn start_program(&self, code: &str) -> Connection {
        let before = self.programs();
        let mut connection = self.connect();
        connection.send(Request::execute(&json!({ "code": code, "timeout": 120 })).bytes());
        host::eventually("the program's process", || {
            self.programs().iter().any(|process| !before.contains(process)).then_some(())
        });
        connection
    }

    /// Processes of programs: what the keeper's engine has started. Keeper and engine are always there.
    pub(super) fn programs(&self) -> Vec<Process> {
        let tree = host::descendants(self.pid());
        // One that is about to end has no name any more; the engine's own and what is kept warm are named by us.
        tree.into_iter().filter(|process| !process.name().is_empty() && !host::is_ours(process.pid)).collect()
    }

    /// The cgroups of sandboxes, but for those that wait for a program.
    pub(super) fn sandboxes(&self) -> BTreeSet<PathBuf> {
        let entries = host::cgroups_of(self.pid()).into_iter().filter_map(|folder| std::fs::read_dir(folder).ok());
        let folders = entries.flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
        folders.filter(|path| !host::is_parked(path)).collect()
    }

    /// Fails unless all processes of programs go, and all sandboxes but those that were there before.
    pub(super) fn assert_nothing_runs(&self, before: &BTreeSet<PathBuf>) {
        host::eventually_nothing("processes and cgroups of programs", || {
            let processes = self.programs().into_iter().map(|process| format!("{process:?}"));
            processes.chain(self.sandboxes().difference(before).map(|path| path.display().to_string())).collect()
        });
    }

    /// Fails unless all processes of programs go.
    pub(super) fn assert_no_processes(&self) {
        host::eventually_nothing("processes of programs", || {
            self.programs().iter().map(|process| format!("{process:?}")).collect()
        });
    }

    pub(super) fn assert_next_works(&self) {
        let result = self.run("print('next')");
        assert_eq!((&result["status"], &result["stdout"]), (&"Completed".into(), &"next\n".into()), "{result}");
    }

    /// Waits for the end of a server that was told to end, and looks for what it left.
    pub(super) fn finish(&mut self) -> Outcome {
        let outcome = self.running.take().expect("it was not stopped yet").finish();
        self.place.assert_nothing_left(&[self.pid], &[]);
        outcome
    }

    /// Stops it with SIGTERM; its log.
    pub(super) fn stop(&mut self) -> String {
        self.signal(Signal::TERM);
        let outcome = self.finish();
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, ""), "{outcome:?}");
        assert!(says(outcome.stderr.lines().last().unwrap_or_default(), "stopped"), "{outcome:?}");
        assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
        outcome.stderr
    }
}

impl Ask for Server {
    fn ask(&self, request: &Request) -> Answer {
        self.ask(request)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.running.is_some() && !std::thread::panicking() {
            self.stop();
        }
    }
}
