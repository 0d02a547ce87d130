//! More than may run: refused at once.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{client::Request, server::Server};
use crate::{host, require, site};

#[test]
fn one_more_than_may_run_is_refused_at_once() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "2"), ("MaxQueueLength", "0"), ("Zygote", "Off")]);
    let code = format!("import time; time.sleep({}); print('done')", 4 * site::slowness());
    let mut running = [server.start_program(&code), server.start_program(&code)];
    let programs = server.programs();

    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let asked = Instant::now();
                let answer = server.execute(&json!({ "code": "print(1)" }));
                let problem = answer.problem(429, "Busy");
                let took = asked.elapsed();
                assert!(took < site::patience(Duration::from_secs(1)), "{took:?}");
                let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=60).contains(&seconds), "{seconds}");
                assert!(problem["hint"].as_str().unwrap().contains("MaxConcurrentExecutions"), "{problem}");
            });
        }
    });
    assert!(started.elapsed() < site::patience(Duration::from_secs(3)), "{:?}", started.elapsed());
    // What needs no place is answered meanwhile.
    assert_eq!(server.ask(&Request::get("/healthz")).ok(), json!({ "status": "alive" }));
    assert_eq!(server.ask(&Request::get("/readyz")).ok(), json!({ "status": "ready" }));
    let validated = server.ask(&Request::post("/api/python/validate", json!({ "code": "print(1)" }).to_string()));
    assert_eq!(validated.ok()["isValid"], true);
    assert_eq!(server.programs(), programs, "those that run are not disturbed, and no other was started");

    for connection in &mut running {
        assert_eq!(connection.answer("POST", "/api/python/execute").ok()["stdout"], "done\n");
    }
    host::eventually("a place", || (server.execute(&json!({ "code": "1" })).status == 200).then_some(()));
    server.assert_next_works();
}

#[test]
fn bodies_take_a_bounded_amount_of_memory() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxRequestBytes", "4Ki"), ("MaxCodeLength", "4000"), ("BodyTimeout", "30")]);
    let head = Request::new("POST", "/api/python/validate").header("content-type", "application/json");
    let mut stalled = Vec::new();
    let body = json!({ "code": format!("print(1)#{}", "#".repeat(1000)) }).to_string();
    for path in ["/api/python/validate", "/api/python/execute"] {
        let answer = host::eventually("a full server", || {
            // More than fit: those that came together with a look may have been refused.
            let mut connection = server.connect();
            connection.send(head.clone().header("content-length", "4096").bytes());
            connection.send(format!("{{\"code\": \"{}", "#".repeat(4085)));
            stalled.push(connection);
            let answer = server.ask(&Request::post(path, &body));
            (answer.status != 200).then_some(answer)
        });
        answer.problem(429, "Busy");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(stalled.len() >= 31, "{} bodies", stalled.len());
    }
    drop(stalled);
    host::eventually("room", || (server.ask(&Request::post("/api/python/execute", &body)).status == 200).then_some(()));
    server.assert_next_works();
}
