//! A request that is sent twice, under a name of its own.

use std::{collections::BTreeSet, sync::Barrier};

use serde_json::json;

use super::{client::Request, executions, server::Server};
use crate::require;

#[test]
fn the_same_request_twice_is_one_execution() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let body = json!({ "code": "import uuid; print(uuid.uuid4())" });
    for (round, is_sync) in [(0, false), (1, true), (2, false), (3, true)] {
        let key = format!("key {round}");
        let request = if is_sync { Request::execute(&body) } else { Request::start(&body) };
        let request = request.header("idempotency-key", &key);
        let together = Barrier::new(6);
        let ids: BTreeSet<String> = std::thread::scope(|scope| {
            let ask = || {
                together.wait();
                let answer = server.ask(&request);
                assert_eq!(answer.status, if is_sync { 200 } else { 202 }, "{}", answer.text());
                answer.json()["executionId"].as_str().unwrap().to_owned()
            };
            let clients: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        assert_eq!(ids.len(), 1, "{ids:?}");
        let id = ids.first().unwrap();
        let stdout = executions::result(&server, id)["stdout"].clone();
        // Long after its end, and by the other route.
        let late = server.ask(&Request::execute(&body).header("idempotency-key", &key)).ok();
        assert_eq!((&late["executionId"], &late["stdout"]), (&id.clone().into(), &stdout));
        let late = server.ask(&Request::start(&body).header("idempotency-key", &key)).json();
        assert_eq!((&late["executionId"], &late["status"]), (&id.clone().into(), &"Completed".into()));
    }
    let all = server.ask(&Request::get("/api/python/executions")).ok();
    assert_eq!(all["executions"].as_array().unwrap().len(), 4, "{all}");
    // Without a name, each is one of its own.
    let (one, other) = (server.execute(&body).ok(), server.execute(&body).ok());
    assert_ne!((&one["executionId"], &one["stdout"]), (&other["executionId"], &other["stdout"]));
    server.assert_next_works();
}

#[test]
fn a_name_is_of_one_request() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let named = |request: Request| request.header("idempotency-key", "mine");
    let body = json!({ "code": "print(1)", "args": ["a"] });
    let id = server.ask(&named(Request::start(&body))).json()["executionId"].as_str().unwrap().to_owned();
    for other in [
        json!({ "code": "print(2)", "args": ["a"] }),
        json!({ "code": "print(1)" }),
        json!({ "code": "print(1)", "args": ["a"], "timeout": 5 }),
        json!({ "code": "print(1)", "args": ["a"], "stdin": "x" }),
    ] {
        for request in [Request::start(&other), Request::execute(&other)] {
            let problem = server.ask(&named(request)).problem(409, "IdempotencyConflict");
            assert!(problem["detail"].as_str().unwrap().contains(&id), "{problem}");
        }
    }
    // What only looks different is the same.
    let same = Request::post("/api/python/executions", r#"{"args":["a"], "language":"python", "Code":"print(1)"}"#);
    assert_eq!(server.ask(&named(same)).json()["executionId"], id);
    assert_eq!(executions::result(&server, &id)["stdout"], "1\n");
    server.assert_next_works();
}

#[test]
fn a_name_has_visible_characters() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let body = json!({ "code": "print(1)" });
    for bad in ["", "   ", "a\tb", "k\u{E9}y", &"k".repeat(256)] {
        for request in [Request::start(&body), Request::execute(&body)] {
            let problem = server.ask(&request.header("idempotency-key", bad)).problem(400, "InvalidRequest");
            assert_eq!(problem["field"], "Idempotency-Key", "{problem}");
        }
    }
    for good in ["k", "0d8b0d1e-6a3f-4c5e-9a39-7a4d3f0c8f11", "a b!~", &"k".repeat(255)] {
        assert_eq!(server.ask(&Request::execute(&body).header("idempotency-key", good)).ok()["stdout"], "1\n");
    }
    server.assert_next_works();
}
