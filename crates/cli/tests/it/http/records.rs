//! What was accepted is not forgotten: over crashes, over restarts, and between servers.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    client::{Answer, Ask, Connection, Request},
    executions::{start, wait_for},
    server::{address, command},
};
use crate::{host, place::Place, postgres::Postgres, require, running::Running, site};

const EXECUTIONS: &str = "/api/python/executions";

/// Kills of a server on SQLite, and of one on PostgreSQL. `AEVATAR_SANDBOX_KILLS` makes it more.
const KILLS: usize = 100;
const KILLS_ON_POSTGRES: usize = 15;

/// A server that can be killed, and started again where it was.
struct Crashing {
    running: Running,
    address: SocketAddr,
}

impl Crashing {
    fn start(place: &Place, settings: &[(&str, &str)], database: Option<&str>) -> Self {
        let mut command = command(place, &[], settings);
        if let Some(database) = database {
            command.env("ConnectionStrings__Sandbox", database);
        }
        let mut running = Running::start(command);
        let address = address(&mut running);
        Self { running, address }
    }

    fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&Request::get(path))
    }

    fn result(&self, id: &str) -> Value {
        host::eventually("a result", || {
            let answer = self.get(&format!("{EXECUTIONS}/{id}/result?wait=5"));
            assert!([200, 202].contains(&answer.status), "{id}: {}", answer.text());
            (answer.status == 200).then(|| answer.json())
        })
    }

    /// What it is called, so that what it leaves is found.
    fn pid(&self) -> u32 {
        self.running.pid()
    }

    fn kill(self) {
        self.running.signal(Signal::KILL);
        assert_eq!(self.running.finish().code, 137);
    }

    fn stop(self) -> String {
        self.running.signal(Signal::TERM);
        let outcome = self.running.finish();
        assert_eq!(outcome.code, 0, "{outcome:?}");
        outcome.stderr
    }
}

impl Ask for Crashing {
    fn ask(&self, request: &Request) -> Answer {
        self.connect().ask(request)
    }
}

fn reason(result: &Value) -> (String, String) {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    (word(&result["status"]), word(&result["termination"]["reason"]))
}

/// Kills a server at arbitrary moments while clients start programs. Each of them must have one end, the same whenever
/// it is asked for.
fn survives(kills: usize, settings: &[(&str, &str)], database: Option<&str>) {
    let place = Place::new();
    let settings = [&[("MaxConcurrentExecutions", "4"), ("MaxQueueLength", "100000")], settings].concat();
    let accepted: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let mut pids = Vec::new();
    // The template of its disks, so that no half-made one is left by a kill.
    let first = Crashing::start(&place, &settings, database);
    first.ask(&Request::execute(&json!({ "code": "print(1)" }))).ok();
    pids.push(first.pid());
    first.stop();
    for kill in 0..kills {
        let server = Crashing::start(&place, &settings, database);
        pids.push(server.pid());
        let (address, stop) = (server.address, AtomicBool::new(false));
        std::thread::scope(|scope| {
            for client in 0..4 {
                let (accepted, stop) = (&accepted, &stop);
                scope.spawn(move || {
                    let mut number = 0;
                    while !stop.load(Ordering::Relaxed) {
                        number += 1;
                        let word = kill * 1_000_000 + client * 10_000 + number;
                        let pause = (word % 7) * 5;
                        let code = format!("import time; time.sleep({pause} / 1000); print({word})");
                        // A connection that breaks has acknowledged nothing.
                        if let Some(id) = try_start(address, &code) {
                            accepted.lock().unwrap().insert(id, word);
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                });
            }
            // From before it listens to well into its work; spread, and the same in each run.
            std::thread::sleep(Duration::from_millis((kill as u64 * 37) % 400));
            server.kill();
            stop.store(true, Ordering::Relaxed);
        });
    }
    let accepted = accepted.into_inner().unwrap();
    assert!(accepted.len() >= kills, "too few to mean anything: {}", accepted.len());

    let server = Crashing::start(&place, &settings, database);
    pids.push(server.pid());
    let mut ends: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut results = BTreeMap::new();
    for (id, word) in &accepted {
        let result = server.result(id);
        let end = reason(&result);
        match (end.0.as_str(), end.1.as_str()) {
            ("Completed", "Exited") => assert_eq!(result["stdout"], format!("{word}\n"), "{result}"),
            ("Failed", "Interrupted") => {}
            _ => panic!("an end that nothing explains: {result}"),
        }
        *ends.entry(end).or_default() += 1;
        results.insert(id, result);
    }
    let completed = ends.get(&("Completed".to_owned(), "Exited".to_owned()));
    assert!(completed > Some(&0), "{kills} kills, {} accepted: {ends:?}", accepted.len());
    for (id, result) in results.iter().step_by(7) {
        assert_eq!(server.result(id), *result, "an end is final");
    }
    let result = server.ask(&Request::execute(&json!({ "code": "print('next')" }))).ok();
    assert_eq!(result["stdout"], "next\n");
    server.stop();
    place.assert_nothing_left(&pids, &[]);
}

fn try_start(address: SocketAddr, code: &str) -> Option<String> {
    let mut connection = Connection::try_open(address).ok()?;
    connection.try_send(Request::post(EXECUTIONS, json!({ "code": code }).to_string()).bytes()).ok()?;
    let answer = connection.try_answer().ok()?;
    (answer.status == 202).then(|| answer.json()["executionId"].as_str().unwrap().to_owned())
}

fn kills(usual: usize) -> usize {
    std::env::var("AEVATAR_SANDBOX_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(usual)
}

#[test]
fn what_was_accepted_ends_once_however_often_the_server_is_killed() {
    if require::default_tier() {
        // Interpreters that are kept warm are tested elsewhere; to make them takes longer than these servers live.
        survives(kills(KILLS), &[("Zygote", "Off")], None);
    }
}

#[test]
fn and_on_postgresql() {
    if require::default_tier() {
        let postgres = Postgres::start().unwrap();
        survives(kills(KILLS_ON_POSTGRES), &[], Some(&postgres.url("postgres")));
    }
}

#[test]
fn an_end_is_still_there_after_a_restart_as_it_was() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let first = Crashing::start(&place, &[], None);
    let code =
        "import sys\nprint('out', flush=True)\nprint('err', file=sys.stderr, flush=True)\nopen('f', 'w').write('x')\n";
    let id = start(&first, code);
    let result = first.result(&id);
    let logs = |server: &Crashing| server.get(&format!("{EXECUTIONS}/{id}/logs?stream=stderr")).ok();
    let events =
        |server: &Crashing| server.connect().follow(&Request::get(&format!("{EXECUTIONS}/{id}/events"))).rest();
    let (before, log, state) = (events(&first), logs(&first), first.get(&format!("{EXECUTIONS}/{id}")).ok());
    let synchronous = first.ask(&Request::execute(&json!({ "code": "print('sync')" }))).ok();
    let pid = first.pid();
    first.kill();
    let second = Crashing::start(&place, &[], None);
    assert_eq!(second.result(&id), result);
    assert_eq!((events(&second), logs(&second)), (before, log));
    let after = second.get(&format!("{EXECUTIONS}/{id}")).ok();
    for field in ["status", "reason", "queuedAt", "startedAt", "finishedAt"] {
        assert_eq!(after[field], state[field], "{field}");
    }
    let id = synchronous["executionId"].as_str().unwrap();
    assert_eq!(second.result(id), synchronous, "a synchronous one, too");
    let listed = second.get(&format!("{EXECUTIONS}?status=Completed")).ok();
    assert_eq!(listed["executions"].as_array().unwrap().len(), 2, "{listed}");
    let pids = [pid, second.pid()];
    second.stop();
    place.assert_nothing_left(&pids, &[]);
}

#[test]
fn what_waits_is_run_by_the_next_server_after_a_stop() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let settings = [("MaxConcurrentExecutions", "1"), ("ShutdownGrace", "60")];
    let first = Crashing::start(&place, &settings, None);
    let seconds = 3 * site::slowness();
    let running = start(&first, &format!("import time; time.sleep({seconds}); print('ran')"));
    wait_for(&first, &running, "Running");
    let waiting: Vec<String> = (0..5).map(|number| start(&first, &format!("print({number})"))).collect();
    let position = first.get(&format!("{EXECUTIONS}/{}", waiting[4])).ok()["queuePosition"].clone();
    assert_eq!(position, 5);
    let pid = first.pid();
    first.stop();
    let second = Crashing::start(&place, &settings, None);
    assert_eq!(second.result(&running)["stdout"], "ran\n", "it had its grace");
    for (number, id) in waiting.iter().enumerate() {
        assert_eq!(second.result(id)["stdout"], format!("{number}\n"));
    }
    let pids = [pid, second.pid()];
    second.stop();
    place.assert_nothing_left(&pids, &[]);
}

#[test]
fn two_servers_on_one_database_answer_for_each_other() {
    if !require::default_tier() {
        return;
    }
    let postgres = Postgres::start().unwrap();
    let database = postgres.url("postgres");
    let (one_place, other_place) = (Place::new(), Place::new());
    let settings = [("MaxConcurrentExecutions", "2")];
    let one = Crashing::start(&one_place, &settings, Some(&database));
    let other = Crashing::start(&other_place, &settings, Some(&database));

    let seconds = 2 * site::slowness();
    let id = start(&one, &format!("import time; time.sleep({seconds}); print('from one')"));
    wait_for(&other, &id, "Running");
    // It waits for the end of what another server runs.
    assert_eq!(other.result(&id)["stdout"], "from one\n");
    assert_eq!(other.result(&id), one.result(&id));
    let events =
        |server: &Crashing| server.connect().follow(&Request::get(&format!("{EXECUTIONS}/{id}/events"))).rest();
    assert_eq!(events(&one), events(&other));

    let endless = start(&one, "import time; time.sleep(1000)");
    wait_for(&other, &endless, "Running");
    let answer = other.ask(&Request::new("DELETE", &format!("{EXECUTIONS}/{endless}"))).ok();
    assert!(["cancelled", "requested"].contains(&answer["outcome"].as_str().unwrap()), "{answer}");
    assert_eq!(reason(&other.result(&endless)), ("Cancelled".to_owned(), "Cancelled".to_owned()));

    // The same idempotency key at both: one execution.
    let request =
        Request::post(EXECUTIONS, json!({ "code": "print('once')" }).to_string()).header("idempotency-key", "the same");
    let (first, second) = (one.ask(&request).json(), other.ask(&request).json());
    assert_eq!(first["executionId"], second["executionId"]);

    // One dies: what ran there ends as interrupted, what waited there runs at the other.
    let running: Vec<String> = (0..2).map(|_| start(&one, "import time; time.sleep(1000)")).collect();
    for id in &running {
        wait_for(&one, id, "Running");
    }
    let waiting: Vec<String> = (0..3).map(|number| start(&one, &format!("print({number})"))).collect();
    let pid = one.pid();
    one.kill();
    for id in &running {
        assert_eq!(reason(&other.result(id)), ("Failed".to_owned(), "Interrupted".to_owned()));
    }
    for (number, id) in waiting.iter().enumerate() {
        assert_eq!(other.result(id)["stdout"], format!("{number}\n"));
    }
    let pids = [pid, other.pid()];
    other.stop();
    one_place.assert_nothing_left(&pids, &[]);
    other_place.assert_nothing_left(&pids, &[]);
}

#[test]
fn old_records_go() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let server = Crashing::start(&place, &[("RetentionTime", "0")], None);
    let id = start(&server, "print(1)");
    host::eventually("the end of a record", || (server.get(&format!("{EXECUTIONS}/{id}")).status == 404).then_some(()));
    server.get(&format!("{EXECUTIONS}/{id}/result")).problem(404, "NotFound");
    let pid = server.pid();
    server.stop();
    place.assert_nothing_left(&[pid], &[]);
}

#[test]
fn a_store_that_cannot_be_used_is_told() {
    let place = Place::new();
    let mut broken = command(&place, &[], &[]);
    broken.env("ConnectionStrings__Sandbox", "Host=/nowhere;Database=x;Username=y;Password=SECRETWORD;Timeout=2");
    let outcome = crate::place::finish(broken, b"");
    assert_eq!(outcome.code, 125, "{outcome:?}");
    assert!(outcome.stderr.contains("PostgreSQL") && outcome.stderr.contains("hint: "), "{outcome:?}");
    assert!(!outcome.stderr.contains("SECRETWORD"), "{outcome:?}");
    let mut nonsense = command(&place, &[], &[]);
    nonsense.env("ConnectionStrings__Sandbox", "Hoost=x;Password=SECRETWORD");
    let outcome = crate::place::finish(nonsense, b"");
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert!(outcome.stderr.contains("Hoost") && !outcome.stderr.contains("SECRETWORD"), "{outcome:?}");
}
