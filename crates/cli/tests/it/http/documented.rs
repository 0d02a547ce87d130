//! Every status that is documented can be seen, but for a few.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::json;

use super::{
    client::{Answer, Request},
    contract::{Documented, documented, template},
    server::{Server, command},
};
use crate::{host, place::Place, require};

/// What no request and no setting brings about.
fn unseen(documented: &Documented) -> Option<&'static str> {
    match documented.status {
        500 => Some("a fault of the server, or of the sandbox"),
        503 if !PROGRAMS.contains(&documented.path.as_str()) && !OF_PYTHON.contains(&documented.path.as_str()) => {
            Some("records in memory are always reached")
        }
        503 if documented.method == "GET" && documented.path == EXECUTIONS => {
            Some("records in memory are always reached")
        }
        _ => None,
    }
}

/// What takes a program, and what is said when it is taken.
const PROGRAMS: [&str; 4] = [EXECUTE, EXECUTIONS, "/api/sandbox/execute", "/api/sandbox/execute-async"];
/// What needs an interpreter, and no record.
const OF_PYTHON: [&str; 3] = [VALIDATE, CAPABILITIES, "/readyz"];
/// What asks the records for one execution: with braces for its id.
const RECORDS: [(&str, &str); 10] = [
    ("GET", "/api/python/executions/{id}"),
    ("GET", "/api/python/executions/{id}/result"),
    ("GET", "/api/python/executions/{id}/logs"),
    ("GET", "/api/python/executions/{id}/events"),
    ("GET", "/api/python/executions/{id}/files/{path}"),
    ("POST", "/api/python/executions/{id}/cancel"),
    ("DELETE", "/api/python/executions/{id}"),
    ("GET", "/api/sandbox/status/{id}"),
    ("GET", "/api/sandbox/logs/{id}"),
    ("POST", "/api/sandbox/cancel/{id}"),
];

const EXECUTIONS: &str = "/api/python/executions";
const EXECUTE: &str = "/api/python/execute";
const VALIDATE: &str = "/api/python/validate";
const CAPABILITIES: &str = "/api/python/capabilities";
const METRICS: &str = "/metrics";

/// What was seen so far.
#[derive(Default)]
struct Seen(BTreeSet<Documented>);

impl Seen {
    fn note(&mut self, method: &str, path: &str, answer: &Answer) -> u16 {
        let path = template(path.split('?').next().unwrap()).to_owned();
        let documented = Documented { method: method.to_owned(), path, status: answer.status };
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

    let documented: BTreeSet<Documented> = documented().into_iter().collect();
    let missing: Vec<_> = documented.difference(&seen.0).filter(|one| unseen(one).is_none()).collect();
    assert!(missing.is_empty(), "documented, and not seen: {missing:#?}");
    let wrong: Vec<_> = documented.iter().filter(|one| unseen(one).is_some() && seen.0.contains(one)).collect();
    assert!(wrong.is_empty(), "seen, and said not to be: {wrong:#?}");
}

fn of_a_good_server(seen: &mut Seen) {
    let server = Server::with(&[("MaxCodeLength", "1000"), ("BodyTimeout", "0.3")]);
    for path in [CAPABILITIES, METRICS, "/healthz", "/readyz"] {
        assert_eq!(seen.get(&server, path), 200);
    }
    for path in PROGRAMS.into_iter().chain([VALIDATE]) {
        let is_started = path == EXECUTIONS || path == "/api/sandbox/execute-async";
        assert_eq!(seen.post(&server, path, "print(1)"), if is_started { 202 } else { 200 });
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
    for path in PROGRAMS {
        assert_eq!(seen.post(&server, path, "import ctypes"), 422);
        let named = |code: &str| {
            Request::post(path, json!({ "code": code }).to_string())
                .header("idempotency-key", &format!("key of {path}"))
        };
        assert_eq!(server.ask(&named("1")).status / 100, 2);
        assert_eq!(seen.note("POST", path, &server.ask(&named("2"))), 409);
    }
    of_executions(seen, &server);
    of_files(seen, &server);
}

fn of_executions(seen: &mut Seen, server: &Server) {
    assert_eq!(seen.get(server, EXECUTIONS), 200);
    assert_eq!(seen.get(server, "/api/python/executions?limit=0"), 400);
    let foreign = Request::get(EXECUTIONS).header("host", "evil.example");
    assert_eq!(seen.note("GET", EXECUTIONS, &server.ask(&foreign)), 403);

    let code = "import time\nopen('/work/file', 'w').write('kept')\ntime.sleep(60)";
    let started = server.ask(&Request::start(&json!({ "code": code, "timeout": 90 }))).json();
    let id = started["executionId"].as_str().unwrap();
    assert_eq!(seen.get(server, &format!("/api/python/executions/{id}/result")), 202);
    for (method, path) in RECORDS {
        let of = |id: &str| path.replace("{id}", id).replace("{path}", "file");
        let note = |seen: &mut Seen, request: &Request, path: &str| seen.note(method, path, &server.ask(request));
        let unknown = of("01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(note(seen, &Request::new(method, &unknown), &unknown), 404);
        let broken = of("%ff");
        assert_eq!(note(seen, &Request::new(method, &broken), &broken), 400, "{method} {broken}");
        let known = of(id);
        assert_eq!(note(seen, &Request::new(method, &known).header("host", "evil.example"), &known), 403);
    }
    assert_eq!(
        seen.note(
            "DELETE",
            &format!("{EXECUTIONS}/{id}"),
            &server.ask(&Request::new("DELETE", &format!("{EXECUTIONS}/{id}")))
        ),
        200
    );
    for (method, path) in RECORDS.into_iter().filter(|(_, path)| !path.ends_with("{path}")) {
        let path = path.replace("{id}", id);
        if path.ends_with("/events") {
            drop(server.connect().follow(&Request::get(&path)).rest());
            seen.0.insert(Documented { method: method.to_owned(), path: template(&path).to_owned(), status: 200 });
            continue;
        }
        assert_eq!(seen.note(method, &path, &server.ask(&Request::new(method, &path))), 200);
    }
}

fn of_files(seen: &mut Seen, server: &Server) {
    let result = server.run("open('/work/file', 'w').write('kept')");
    let path = format!("{EXECUTIONS}/{}/files/file", result["executionId"].as_str().unwrap());
    assert_eq!(seen.note("GET", &path, &server.ask(&Request::get(&path))), 200);
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
    for path in PROGRAMS {
        assert_eq!(seen.post(&server, path, "print(1)"), 429);
    }
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
    assert_eq!(seen.get(&server, EXECUTIONS), 401);
    for path in PROGRAMS.into_iter().chain([VALIDATE]) {
        assert_eq!(seen.post(&server, path, ""), 401);
    }
    for (method, path) in RECORDS {
        assert_eq!(seen.note(method, path, &server.ask(&Request::new(method, path))), 401);
    }
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
    let request = |path| Request::post(path, json!({ "code": "print(1)" }).to_string()).bytes();
    let mut late = PROGRAMS.map(|path| (path, server.connect()));
    for (path, client) in &mut late {
        client.send(&request(path)[..20]);
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    server.signal(Signal::TERM);
    host::eventually("its word that it stops", || server.log().contains(" stopping: ").then_some(()));
    for (path, client) in &mut late {
        client.send(&request(path)[20..]);
        assert_eq!(seen.note("POST", path, &client.answer("POST", path)), 503);
    }
    assert_eq!(server.finish().code, 0);
}
