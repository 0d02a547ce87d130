//! Every status that is documented can be seen, but for a few.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::json;

use super::{
    client::{Answer, Request},
    contract::{Documented, documented},
    server::{Server, command},
};
use crate::{host, place::Place, require};

/// What no request and no setting brings about.
const UNSEEN: [(&str, &str, u16, &str); 4] = [
    ("POST", "/api/python/execute", 500, "a fault of the sandbox"),
    ("POST", "/api/python/validate", 500, "a fault of the server"),
    ("GET", "/api/python/capabilities", 500, "a fault of the server"),
    ("GET", "/metrics", 500, "a fault of the server"),
];

const EXECUTE: &str = "/api/python/execute";
const VALIDATE: &str = "/api/python/validate";
const CAPABILITIES: &str = "/api/python/capabilities";
const METRICS: &str = "/metrics";

/// What was seen so far.
#[derive(Default)]
struct Seen(BTreeSet<Documented>);

impl Seen {
    fn note(&mut self, method: &str, path: &str, answer: &Answer) -> u16 {
        let documented = Documented { method: method.to_owned(), path: path.to_owned(), status: answer.status };
        self.0.insert(documented);
        answer.status
    }

    fn get(&mut self, server: &Server, path: &str) -> u16 {
        self.note("GET", path, &server.ask(&Request::get(path)))
    }

    fn post(&mut self, server: &Server, path: &str, code: &str) -> u16 {
        self.note("POST", path, &server.ask(&Request::post(path, json!({ "code": code }).to_string())))
    }
}

/// Needs the validator, for 422.
#[test]
fn every_documented_status_is_seen() {
    if !require::default_tier() {
        return;
    }
    let mut seen = Seen::default();
    of_a_good_server(&mut seen);
    of_a_full_server(&mut seen);
    of_a_server_with_keys(&mut seen);
    of_a_server_without_python(&mut seen);
    of_a_server_that_stops(&mut seen);

    let unseen: BTreeSet<Documented> = UNSEEN
        .iter()
        .map(|(method, path, status, _reason)| Documented {
            method: (*method).to_owned(),
            path: (*path).to_owned(),
            status: *status,
        })
        .collect();
    let documented: BTreeSet<Documented> = documented().into_iter().collect();
    let missing: Vec<_> = documented.difference(&seen.0).filter(|one| !unseen.contains(one)).collect();
    assert!(missing.is_empty(), "documented, and not seen: {missing:#?}");
    let wrong: Vec<_> = unseen.iter().filter(|one| seen.0.contains(one) || !documented.contains(one)).collect();
    assert!(wrong.is_empty(), "seen, or not documented: {wrong:#?}");
}

fn of_a_good_server(seen: &mut Seen) {
    let server = Server::with(&[("MaxCodeLength", "1000"), ("BodyTimeout", "0.3")]);
    for path in [CAPABILITIES, METRICS, "/healthz", "/readyz"] {
        assert_eq!(seen.get(&server, path), 200);
    }
    for path in [EXECUTE, VALIDATE] {
        assert_eq!(seen.post(&server, path, "print(1)"), 200);
        assert_eq!(seen.post(&server, path, "\0"), 400);
        assert_eq!(seen.post(&server, path, &"#".repeat(1001)), 413);
        let untyped = Request::post(path, "{}").without_header("content-type");
        assert_eq!(seen.note("POST", path, &server.ask(&untyped)), 415);
        let mut slow = server.connect();
        slow.send(Request::post(path, "{").header("content-length", "10").bytes());
        assert_eq!(seen.note("POST", path, &slow.answer("POST", path)), 408);
        let foreign = Request::post(path, "{}").header("host", "evil.example");
        assert_eq!(seen.note("POST", path, &server.ask(&foreign)), 403);
    }
    for path in [CAPABILITIES, METRICS] {
        let foreign = Request::get(path).header("host", "evil.example");
        assert_eq!(seen.note("GET", path, &server.ask(&foreign)), 403);
    }
    seen.post(&server, EXECUTE, "import ctypes");
}

fn of_a_full_server(seen: &mut Seen) {
    let server = Server::with(&[
        ("MaxConcurrentExecutions", "1"),
        ("MaxQueueLength", "0"),
        ("MaxRequestBytes", "2Ki"),
        ("MaxCodeLength", "2000"),
        ("BodyTimeout", "30"),
    ]);
    let running = server.start_program("import time; time.sleep(60)");
    assert_eq!(seen.post(&server, EXECUTE, "print(1)"), 429);
    drop(running);
    let mut stalled = Vec::new();
    host::eventually("as much as may be read", || {
        let mut connection = server.connect();
        connection.send(Request::post(VALIDATE, "x".repeat(2000)).header("content-length", "2048").bytes());
        stalled.push(connection);
        (seen.post(&server, VALIDATE, &"#".repeat(1990)) == 429).then_some(())
    });
}

fn of_a_server_with_keys(seen: &mut Seen) {
    let server = Server::with(&[("ApiKeys__0", "a-key-of-this-test-only")]);
    assert_eq!(seen.get(&server, CAPABILITIES), 401);
    assert_eq!(seen.get(&server, METRICS), 401);
    assert_eq!(seen.post(&server, EXECUTE, ""), 401);
    assert_eq!(seen.post(&server, VALIDATE, ""), 401);
}

fn of_a_server_without_python(seen: &mut Seen) {
    let place = Place::new();
    let command = command(&place, &["--python", "/no/such/python"], &[]);
    let server = Server::of(place, command);
    assert_eq!(seen.get(&server, "/readyz"), 503);
    assert_eq!(seen.get(&server, CAPABILITIES), 503);
    assert_eq!(seen.post(&server, VALIDATE, ""), 503);
}

fn of_a_server_that_stops(seen: &mut Seen) {
    let mut server = Server::with(&[("ShutdownGrace", "20")]);
    let request = Request::execute(&json!({ "code": "print(1)" })).bytes();
    let mut late = server.connect();
    late.send(&request[..20]);
    std::thread::sleep(std::time::Duration::from_millis(100));
    server.signal(Signal::TERM);
    host::eventually("its word that it stops", || server.log().contains(" stopping: ").then_some(()));
    late.send(&request[20..]);
    assert_eq!(seen.note("POST", EXECUTE, &late.answer("POST", EXECUTE)), 503);
    assert_eq!(server.finish().code, 0);
}
