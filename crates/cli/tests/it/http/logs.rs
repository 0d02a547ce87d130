//! The log: one JSON object on each line where that is asked for, and a line of audit for each execution.

use serde_json::{Value, json};

use super::{client::Request, server::Server};
use crate::{host, require};

const KEY: &str = "a-key-of-this-test-only";
/// With everything that could break a line.
const CODE: &str = "secret_word = 'line\u{1b}[31m\\n'\nprint(len(secret_word))\n";

/// The lines of a log, which must all be objects.
fn lines(log: &str) -> Vec<Value> {
    let parse = |line: &str| -> Value {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"));
        for member in ["timestamp", "level", "target", "message"] {
            assert!(value[member].is_string(), "{member}: {line}");
        }
        value
    };
    log.lines().map(parse).collect()
}

fn audit(log: &str) -> Vec<Value> {
    lines(log).into_iter().filter(|line| line["target"] == "audit").collect()
}

#[test]
fn json_lines_tell_of_each_execution_and_never_of_its_code() {
    if !require::default_tier() {
        return;
    }
    let mut server = Server::with(&[("LogFormat", "Json"), ("ApiKeys__0", KEY)]);
    let with_key = |request: Request| request.header("x-api-key", KEY);
    let result = server.ask(&with_key(Request::execute(&json!({ "code": CODE })))).ok();
    let started = server.ask(&with_key(Request::post("/api/python/executions", json!({ "code": "1/0" }).to_string())));
    assert_eq!(started.status, 202);
    for path in ["/%0a%1b%5b31m", "/\"quoted\"", "/{brace}\\"] {
        server.ask(&with_key(Request::get(path)));
    }
    host::eventually("two lines", || (server.log().matches("execution ended").count() == 2).then_some(()));
    let log = server.stop();
    assert!(!log.contains("secret_word") && !log.contains(KEY) && !log.contains('\u{1b}'), "{log}");

    let audit = audit(&log);
    let first = audit.iter().find(|line| line["id"] == result["executionId"]).unwrap();
    assert_eq!((&first["status"], &first["reason"]), (&"Completed".into(), &"Exited".into()), "{first}");
    assert!(first["owner"].as_str().unwrap().starts_with("c_"), "{first}");
    let digest = first["digest"].as_str().unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    for number in ["queue_ms", "startup_ms", "wall_ms", "cpu_ms"] {
        assert!(first[number].as_f64().is_some_and(|value| value >= 0.0), "{number}: {first}");
    }
    assert!(["parked", "forked", "cold"].contains(&first["start"].as_str().unwrap()), "{first}");
    assert!(first.get("code").is_none(), "{first}");
    let second = audit.iter().find(|line| line["id"] == started.json()["executionId"]).unwrap();
    assert_eq!((&second["reason"], &second["owner"]), (&"Exception".into(), &first["owner"]), "{second}");
    assert_eq!(audit.len(), 2, "the server's look at itself is none");
}

#[test]
fn code_is_told_where_it_is_kept() {
    if !require::default_tier() {
        return;
    }
    let mut server = Server::with(&[("LogFormat", "Json"), ("StoreCode", "true")]);
    server.run(CODE);
    let padded = format!("{CODE}#{}", "#".repeat(100_000));
    server.run(&padded);
    let audit = audit(&server.stop());
    assert_eq!(audit[0]["code"], CODE);
    let cut = audit[1]["code"].as_str().unwrap();
    assert!(cut.starts_with(CODE) && cut.len() < 20_000, "{}", cut.len());

    let mut server = Server::with(&[("StoreCode", "true")]);
    server.run(CODE);
    let log = server.stop();
    let line = log.lines().find(|line| line.contains("execution ended")).unwrap();
    assert!(line.contains("secret_word") && line.contains("print(len("), "on one line: {log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}
