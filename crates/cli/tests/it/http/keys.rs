//! Keys that are made and revoked, and what each may.

use serde_json::{Value, json};

use super::{
    client::Request,
    server::{Server, command},
};
use crate::{host, place::Place, place::finish, require, site};

const EXECUTIONS: &str = "/api/python/executions";

/// `aevatar-sandbox key` beside a server.
fn key(place: &Place, arguments: &[&str]) -> crate::place::Outcome {
    finish(place.command(&[&["key"], arguments].concat()), b"")
}

fn create(place: &Place, arguments: &[&str]) -> (String, String) {
    let outcome = key(place, &[&["create", "--json"], arguments].concat());
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let made: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let word = |name: &str| made[name].as_str().unwrap().to_owned();
    (word("id"), word("secret"))
}

/// A server with keys: one is made before it starts.
fn server(arguments: &[&str], settings: &[(&str, &str)]) -> (Server, String, String) {
    let place = Place::new();
    let (id, secret) = create(&place, arguments);
    let command = command(&place, &[], settings);
    let server = Server::of(place, command);
    (server, id, secret)
}

fn with(request: Request, secret: &str) -> Request {
    request.header("authorization", &format!("Bearer {secret}"))
}

fn hello() -> Request {
    Request::execute(&json!({ "code": "print('in')" }))
}

#[test]
fn a_key_opens_the_door_until_it_is_revoked() {
    if !require::default_tier() {
        return;
    }
    let (server, id, secret) = server(&["first"], &[]);
    server.ask(&hello()).problem(401, "Unauthenticated");
    server.ask(&with(hello(), "avs_wrong")).problem(401, "Unauthenticated");
    assert_eq!(server.ask(&with(hello(), &secret)).ok()["stdout"], "in\n");
    assert_eq!(server.ask(&hello().header("x-api-key", &secret)).ok()["stdout"], "in\n");
    let listed = key(&server.place, &["list"]).stdout;
    assert!(listed.contains(&id) && listed.contains("first") && listed.contains("valid"), "{listed}");
    assert!(!listed.contains(&secret), "its secret is shown once");
    let (_, other) = create(&server.place, &["second"]);
    assert_eq!(server.ask(&with(hello(), &other)).ok()["stdout"], "in\n", "at once");

    assert_eq!(key(&server.place, &["revoke", &id]).code, 0);
    host::eventually("the end of a key", || (server.ask(&with(hello(), &secret)).status == 401).then_some(()));
    assert_eq!(server.ask(&with(hello(), &other)).ok()["stdout"], "in\n");
    let again = key(&server.place, &["revoke", &id]);
    assert!(again.code == 125 && again.stderr.contains(&id), "{again:?}");
    let log = server.log();
    assert!(!log.contains(&secret) && !log.contains(&other), "{log}");
}

#[test]
fn executions_are_their_owners() {
    if !require::default_tier() {
        return;
    }
    let (server, _, mine) = server(&["mine"], &[]);
    let (_, other) = create(&server.place, &["other"]);
    let started = server.ask(&with(Request::post(EXECUTIONS, json!({ "code": "print(1)" }).to_string()), &mine));
    assert_eq!(started.status, 202, "{}", started.text());
    let id = started.json()["executionId"].as_str().unwrap().to_owned();
    let paths = ["", "/result", "/logs", "/events", "/files/x"].map(|rest| format!("{EXECUTIONS}/{id}{rest}"));
    let result = server.ask(&with(Request::get(&format!("{EXECUTIONS}/{id}/result?wait=20")), &mine)).ok();
    assert_eq!(result["stdout"], "1\n");
    for path in &paths {
        server.ask(&with(Request::get(path), &other)).problem(404, "NotFound");
    }
    server.ask(&with(Request::new("DELETE", &paths[0]), &other)).problem(404, "NotFound");
    server.ask(&with(Request::post(&format!("{}/cancel", paths[0]), "{}"), &other)).problem(404, "NotFound");
    let listed = |secret: &str| server.ask(&with(Request::get(EXECUTIONS), secret)).ok()["executions"].clone();
    assert_eq!((listed(&mine).as_array().unwrap().len(), listed(&other)), (1, json!([])));
    // The same idempotency key is each owner's own.
    let request = |secret: &str| {
        let request = Request::post(EXECUTIONS, json!({ "code": format!("print({:?})", &secret[..6]) }).to_string());
        server.ask(&with(request, secret).header("idempotency-key", "k"))
    };
    assert_eq!((request(&mine).status, request(&other).status), (202, 202));
}

#[test]
fn a_key_has_limits_of_its_own() {
    if !require::default_tier() {
        return;
    }
    let arguments = [
        "small",
        "--per-minute",
        "6",
        "--concurrent",
        "1",
        "--max-memory",
        "128Mi",
        "--max-timeout",
        "5",
        "--allow-module",
        "numpy",
    ];
    let (server, _, secret) = server(&arguments, &[("DefaultResources__MemoryLimit", "64Mi"), ("DefaultTimeout", "5")]);
    let execute = |body: &Value| server.ask(&with(Request::execute(body), &secret));
    for (body, field) in [
        (json!({ "code": "1", "resources": { "memoryLimit": "256Mi" } }), "256Mi"),
        (json!({ "code": "1", "timeout": 6 }), "6 s"),
    ] {
        let problem = execute(&body).problem(400, "InvalidRequest");
        assert!(problem["detail"].as_str().unwrap().contains(field), "{problem}");
    }
    let refused = execute(&json!({ "code": "import pandas" })).problem(422, "CodeRejected");
    assert_eq!(refused["violations"][0]["line"], 1);
    assert_eq!(execute(&json!({ "code": "import numpy; print(1)" })).ok()["stdout"], "1\n");
    assert_eq!(execute(&json!({ "code": "print(2)" })).ok()["stdout"], "2\n");
    // Two of six were used by what ran, one by what broke a rule; what makes no sense counts for nothing.
    let seconds = site::slowness();
    let slow = json!({ "code": format!("import time; time.sleep({seconds})"), "timeout": 5 }).to_string();
    let start = || server.ask(&with(Request::post(EXECUTIONS, &slow), &secret));
    let (first, second) = (start().json(), start().json());
    let state = |started: &Value| {
        let path = format!("{EXECUTIONS}/{}", started["executionId"].as_str().unwrap());
        server.ask(&with(Request::get(&path), &secret)).ok()
    };
    host::eventually("the first", || (state(&first)["status"] == "Running").then_some(()));
    assert_eq!(state(&second)["status"], "Pending", "one at a time");
    assert_eq!(state(&second)["queuePosition"], 1);
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(execute(&json!({ "code": "print(3)" })));
    }
    let last = answers.last().unwrap();
    let problem = last.problem(429, "Busy");
    assert!(problem["detail"].as_str().unwrap().contains("6 executions a minute"), "{problem}");
    assert!((1..=10).contains(&last.header("retry-after").unwrap().parse::<u64>().unwrap()));
    // Another key is not held up by any of it.
    let (_, other) = create(&server.place, &["other"]);
    assert_eq!(server.ask(&with(hello(), &other)).ok()["stdout"], "in\n");
}

#[test]
fn keys_let_a_server_listen_to_the_world() {
    let place = Place::new();
    let elsewhere = ["--host", "192.0.2.1"];
    let refused = finish(command(&place, &elsewhere, &[]), b"");
    assert!(refused.stderr.contains("without authentication") && refused.stderr.contains("key create"), "{refused:?}");
    let (id, _) = create(&place, &["k"]);
    // The address is nobody's: it gets as far as to try.
    let allowed = finish(command(&place, &elsewhere, &[]), b"");
    assert!(allowed.stderr.contains("could not listen on 192.0.2.1"), "{allowed:?}");
    key(&place, &["revoke", &id]);
    let refused = finish(command(&place, &elsewhere, &[]), b"");
    assert!(refused.stderr.contains("without authentication"), "a revoked one is none: {refused:?}");
}

#[test]
fn what_is_wrong_with_a_key_is_told() {
    let place = Place::new();
    for (arguments, word) in [
        (&["create"][..], "NAME"),
        (&["create", "x", "--priority", "0"], "1..=100"),
        (&["create", "x", "--max-memory", "lots"], "lots"),
        (&["revoke", "k_nobody"], "k_nobody"),
    ] {
        let outcome = key(&place, arguments);
        assert!(outcome.code != 0 && outcome.stderr.contains(word), "{arguments:?}: {outcome:?}");
    }
    let outcome = key(&place, &["create", "named\u{1b}[31m\n"]);
    assert_eq!(outcome.code, 0);
    assert!(outcome.stdout.starts_with("avs_") && outcome.stdout.trim().len() > 40, "{outcome:?}");
    let listed = key(&place, &["list"]).stdout;
    assert!(listed.lines().count() == 1 && !listed.contains('\u{1b}'), "{listed:?}");
}
