//! The end of the server: what runs, what comes, and what is left.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{
    client::{Connection, Request},
    server::Server,
};
use crate::{host, require, site};

#[test]
fn what_runs_may_end_within_the_grace() {
    if !require::default_tier() {
        return;
    }
    let mut server = Server::with(&[("ShutdownGrace", "20")]);
    let mut running = server.start_program("import time; time.sleep(2); print('ended by itself')");
    // One request on its way, one connection at rest.
    let (mut late, mut idle) = (server.connect(), server.connect());
    let request = Request::execute(&json!({ "code": "print('new work')" })).bytes();
    late.send(&request[..30]);
    assert_eq!(idle.ask(&Request::get("/healthz")).status, 200);
    std::thread::sleep(Duration::from_millis(100));

    let told = Instant::now();
    server.signal(Signal::TERM);
    host::eventually("a closed door", || Connection::try_open(server.address).is_err().then_some(()));
    assert!(told.elapsed() < site::patience(Duration::from_millis(1500)), "{:?}", told.elapsed());
    late.send(&request[30..]);
    let answer = late.answer("POST", "/api/python/execute");
    answer.problem(503, "Stopping");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(idle.is_closed());

    let result = running.answer("POST", "/api/python/execute").ok();
    assert_eq!((&result["status"], &result["stdout"]), (&"Completed".into(), &"ended by itself\n".into()), "{result}");
    assert!(running.is_closed());
    let outcome = server.finish();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(told.elapsed() < site::patience(Duration::from_secs(10)), "it does not wait for the rest of the grace");
    server.place.assert_next_works();
}

#[test]
fn what_does_not_end_within_the_grace_is_interrupted() {
    if !require::default_tier() {
        return;
    }
    let mut server = Server::with(&[("ShutdownGrace", "1")]);
    let code = "import os, time\nprint('started', flush=True)\nif os.fork() == 0: os.setsid()\ntime.sleep(60)";
    let mut running = [server.start_program(code), server.start_program(code)];
    host::eventually("all processes", || (server.programs().len() == 4).then_some(()));
    let recorded = host::descendants(server.pid());
    let told = Instant::now();
    server.signal(Signal::TERM);
    for connection in &mut running {
        let result = connection.answer("POST", "/api/python/execute").ok();
        assert_eq!(
            (&result["status"], &result["termination"]["reason"], &result["stdout"]),
            (&"Cancelled".into(), &"Interrupted".into(), &"started\n".into()),
            "{result}"
        );
    }
    let outcome = server.finish();
    let took = told.elapsed().as_secs_f64();
    assert!((0.9..6.0).contains(&took), "{took} s");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    server.place.assert_nothing_left(&[server.pid()], &recorded);
    server.place.assert_next_works();
}

#[test]
fn a_second_signal_ends_the_grace() {
    if !require::default_tier() {
        return;
    }
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::HUP)] {
        let mut server = Server::with(&[("ShutdownGrace", "60")]);
        let mut running = server.start_program("import time; time.sleep(60)");
        server.signal(first);
        host::eventually("a closed door", || Connection::try_open(server.address).is_err().then_some(()));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(server.programs().len(), 1, "the grace is not over");
        let told = Instant::now();
        server.signal(second);
        let result = running.answer("POST", "/api/python/execute").ok();
        assert_eq!(result["termination"]["reason"], "Interrupted", "{result}");
        let outcome = server.finish();
        assert!(told.elapsed() < site::patience(Duration::from_secs(5)), "{:?}", told.elapsed());
        assert_eq!(outcome.code, 0, "{outcome:?}");
        server.place.assert_next_works();
    }
}

#[test]
fn an_idle_server_ends_at_once() {
    if !require::default_tier() {
        return;
    }
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut server = Server::start();
        // Silent connections hold nothing up.
        let _silent: Vec<_> = (0..5).map(|_| server.connect()).collect();
        server.assert_next_works();
        let told = Instant::now();
        server.signal(signal);
        let outcome = server.finish();
        assert!(told.elapsed() < site::patience(Duration::from_secs(3)), "{signal:?}: {:?}", told.elapsed());
        assert_eq!(outcome.code, 0, "{outcome:?}");
        server.place.assert_next_works();
    }
}

#[test]
fn a_killed_server_leaves_nothing() {
    if !require::default_tier() {
        return;
    }
    let mut server = Server::start();
    let code = "import os, time\nos.fork()\nos.fork()\nos.setsid() if os.getppid() > 1 else None\ntime.sleep(60)";
    let mut running = server.start_program(code);
    host::eventually("four processes", || (server.programs().len() == 4).then_some(()));
    let recorded = host::descendants(server.pid());
    assert!(!server.place.leftovers(&[server.pid()], &[]).is_empty(), "what must be gone is seen while it is there");
    server.signal(Signal::KILL);
    assert!(running.is_closed());
    assert_eq!(server.finish().code, 128 + 9);
    server.place.assert_nothing_left(&[server.pid()], &recorded);
    server.place.assert_next_works();
}
