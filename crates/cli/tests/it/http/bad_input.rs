//! Requests that make no sense: each is answered with what is wrong, and nothing is started for it.

use serde_json::{Value, json};

use super::{client::Request, server::Server};
use crate::{host, require};

/// With one place, which is taken: a request that was let through to where programs start would be answered `Busy`.
fn full_server(settings: &[(&str, &str)]) -> (Server, super::client::Connection) {
    // An interpreter that is becoming warm would be taken for a program.
    let full = [("MaxConcurrentExecutions", "1"), ("MaxQueueLength", "0"), ("Zygote", "Off")];
    let server = Server::with(&[&full, settings].concat());
    let running = server.start_program("import time; time.sleep(100)");
    // The positive control.
    server.execute(&json!({ "code": "print(1)" })).problem(429, "Busy");
    (server, running)
}

/// Gives the place back, and shows that it works.
fn free(server: &Server, running: super::client::Connection) {
    drop(running);
    host::eventually_nothing("the program of a client that has gone", || {
        server.programs().iter().map(|process| process.name()).collect()
    });
    host::eventually("a place", || (server.execute(&json!({ "code": "1" })).status == 200).then_some(()));
    server.assert_next_works();
}

#[test]
fn values_of_no_sense_are_named_and_start_nothing() {
    if !require::default_tier() {
        return;
    }
    let (server, running) = full_server(&[]);
    let before = server.programs();
    let resource = |name: &str, value: Value| json!({ "code": "print(1)", "resources": { name: value } });
    // The body, the field, a part of the detail.
    let cases = [
        (json!({}), Value::Null, "missing field `code`"),
        (json!({ "timeout": 1 }), Value::Null, "missing field `code`"),
        (json!({ "code": null }), "code".into(), "null"),
        (json!({ "code": 5 }), "code".into(), "integer `5`, expected a string"),
        (json!({ "code": ["print(1)"] }), "code".into(), "sequence"),
        (json!({ "code": "1", "timeout": "30" }), "timeout".into(), "string \"30\""),
        (json!({ "code": "1", "timeout": -1 }), "timeout".into(), "-1"),
        (json!({ "code": "1", "timeout": 0 }), Value::Null, "timeout"),
        (json!({ "code": "1", "timeout": 301 }), Value::Null, "a `timeout` of 301 s is above the maximum of 300 s"),
        (json!({ "code": "1", "timeout": 1e300 }), "timeout".into(), "timeout"),
        (json!({ "code": "1", "stdin": 1 }), "stdin".into(), "integer `1`"),
        (json!({ "code": "1", "args": "a" }), "args".into(), "string \"a\""),
        (json!({ "code": "1", "args": [1] }), "args[0]".into(), "integer `1`"),
        (json!({ "code": "1", "args": ["a\0b"] }), Value::Null, "NUL"),
        (json!({ "code": "1", "args": ["a".repeat(70_000)] }), Value::Null, "64 KiB"),
        (json!({ "code": "1", "env": ["A"] }), "env".into(), "sequence"),
        (json!({ "code": "1", "env": { "A": 1 } }), "env.A".into(), "integer `1`"),
        (json!({ "code": "1", "env": { "A=B": "" } }), Value::Null, "name"),
        (json!({ "code": "1", "env": { "": "" } }), Value::Null, "no name"),
        (json!({ "code": "1", "resources": "1Gi" }), "resources".into(), "a string, not an object"),
        (json!({ "code": "1", "resources": ["1", "1Gi"] }), "resources".into(), "an array, not an object"),
        (
            json!({ "code": "1", "isolation": { "zygote": "maybe" } }),
            "isolation.zygote".into(),
            "expected `on` or `off`",
        ),
        (json!({ "code": "1", "isolation": { "zygote": false } }), "isolation.zygote".into(), "boolean `false`"),
        (json!({ "code": "1", "isolation": { "zygot": "off" } }), "isolation.zygot".into(), "no field"),
        (json!({ "code": "1", "isolation": { "tier": "reduced" } }), "isolation.tier".into(), "no field"),
        (json!({ "code": "1", "isolation": "off" }), "isolation".into(), "a string, not an object"),
        (json!({ "code": "1", "environment": 5 }), "environment".into(), "integer `5`"),
        (resource("memoryLimit", "100 apples".into()), "resources.memoryLimit".into(), "100 apples"),
        (resource("memoryLimit", "1e30Gi".into()), "resources.memoryLimit".into(), "1e30Gi"),
        (resource("memoryLimit", "-1".into()), "resources.memoryLimit".into(), "-1"),
        (resource("memoryLimit", 1024.into()), "resources.memoryLimit".into(), "integer `1024`"),
        (resource("memoryLimit", "".into()), "resources.memoryLimit".into(), "byte quantity"),
        (resource("memoryLimit", "1Mi".into()), Value::Null, "too small"),
        (resource("memoryLimit", "8Gi".into()), Value::Null, "a `memoryLimit` of 8Gi is above the maximum of 4Gi"),
        (resource("cpuLimit", "-5m".into()), "resources.cpuLimit".into(), "-5m"),
        (resource("cpuLimit", "0".into()), "resources.cpuLimit".into(), "`0`"),
        (resource("cpuLimit", "NaN".into()), "resources.cpuLimit".into(), "NaN"),
        (resource("cpuLimit", "5".into()), Value::Null, "a `cpuLimit` of 5 is above the maximum of 4"),
        (resource("diskLimit", "lots".into()), "resources.diskLimit".into(), "lots"),
        (resource("diskLimit", "1".into()), Value::Null, "too small"),
        (resource("diskLimit", "11Gi".into()), Value::Null, "a `diskLimit` of 11Gi is above the maximum of 10Gi"),
        (resource("processLimit", 0.into()), Value::Null, "0 processes"),
        (resource("processLimit", (-1).into()), "resources.processLimit".into(), "-1"),
        (resource("processLimit", 1025.into()), Value::Null, "above the maximum of 1024"),
        (resource("processLimit", 99_999_999_999_u64.into()), "resources.processLimit".into(), "99999999999"),
        (resource("cpuTime", 0.into()), Value::Null, "CPU time"),
        (resource("cpuTime", (-1).into()), "resources.cpuTime".into(), "-1"),
        (json!({ "code": "print(1)\0" }), Value::Null, "NUL"),
    ];
    for (body, field, detail) in cases {
        let problem = server.execute(&body).problem(400, "InvalidRequest");
        assert_eq!(problem["field"], field, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{body}: {problem}");
        assert!(problem.to_string().len() < 2000, "what a stranger sent is not sent back at length: {problem}");
    }
    assert_eq!(server.programs(), before, "nothing was started, and nothing ended");
    free(&server, running);
}

#[test]
fn what_is_no_json_starts_nothing() {
    if !require::default_tier() {
        return;
    }
    let (server, running) = full_server(&[]);
    let deep = |levels: usize| format!("{{\"code\": {}{}}}", "[".repeat(levels), "]".repeat(levels));
    for (body, hint) in [
        (String::new(), "ends too early"),
        ("{".to_owned(), "ends too early"),
        ("{\"code\": \"print(1)".to_owned(), "ends too early"),
        ("{'code': 'print(1)'}".to_owned(), "quotes"),
        ("{\"code\": \"a\nb\"}".to_owned(), "line breaks"),
        ("{\"code\": \"\\ud800\"}".to_owned(), "JSON string"),
        ("{\"code\": \"print(1)\"} {}".to_owned(), "quotes"),
        ("{\"code\": \"1\", \"timeout\": 1e999}".to_owned(), "quotes"),
        ("{\"code\": \"1\", \"timeout\": NaN}".to_owned(), "quotes"),
        ("code=print(1)".to_owned(), "quotes"),
    ] {
        let request = Request::post("/api/python/execute", &body).header("content-length", &body.len().to_string());
        let problem = server.ask(&request).problem(400, "MalformedJson");
        assert!(problem["hint"].as_str().unwrap().contains(hint), "{body:.60}: {problem}");
    }
    let not_utf8 = Request::post("/api/python/execute", b"{\"code\": \"print(1)\xFF\"}");
    server.ask(&not_utf8).problem(400, "MalformedJson");
    for (body, kind) in [("[]", "an array"), ("null", "null"), ("\"print(1)\"", "a string"), ("1", "a number")] {
        let problem = server.ask(&Request::post("/api/python/execute", body)).problem(400, "InvalidRequest");
        assert_eq!(problem["detail"], format!("the body is {kind}, not an object"));
    }
    for levels in [100, 500_000] {
        let problem = server.ask(&Request::post("/api/python/execute", deep(levels))).problem(400, "InvalidRequest");
        assert_eq!(problem["field"], "code");
    }
    free(&server, running);
}

#[test]
fn a_body_that_is_too_large_starts_nothing() {
    if !require::default_tier() {
        return;
    }
    let (server, running) = full_server(&[("MaxRequestBytes", "4Ki"), ("MaxCodeLength", "4000")]);
    let sized = |size: usize| {
        let empty = json!({ "code": "", "stdin": "" }).to_string().len();
        json!({ "code": "", "stdin": "x".repeat(size - empty) }).to_string()
    };
    let large = sized(4097);
    let problem = server.ask(&Request::post("/api/python/execute", &large)).problem(413, "RequestTooLarge");
    assert!(problem["detail"].as_str().unwrap().contains("4096"), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("MaxRequestBytes"), "{problem}");

    // Without a length, or with a false one: what counts is what arrives.
    let mut chunked = server.connect();
    chunked.send("POST /api/python/execute HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    chunked.send("transfer-encoding: chunked\r\n\r\n");
    chunked.send(format!("{:x}\r\n{large}\r\n", large.len()));
    chunked.answer("POST", "/api/python/execute").problem(413, "RequestTooLarge");

    // Announced, and never sent.
    let mut huge = server.connect();
    let announced = Request::new("POST", "/api/python/execute").header("content-type", "application/json");
    huge.send(announced.header("content-length", "5000000000").bytes());
    huge.answer("POST", "/api/python/execute").problem(413, "RequestTooLarge");

    // The positive control: one byte less gets as far as a request can.
    server.ask(&Request::post("/api/python/execute", sized(4096))).problem(429, "Busy");
    free(&server, running);
}

#[test]
fn a_body_that_is_too_slow_starts_nothing() {
    if !require::default_tier() {
        return;
    }
    let (server, running) = full_server(&[("BodyTimeout", "0.7")]);
    let body = json!({ "code": "print(1)" }).to_string();
    let head = Request::new("POST", "/api/python/execute")
        .header("content-type", "application/json")
        .header("content-length", &body.len().to_string());
    let mut slow = server.connect();
    slow.send(head.bytes());
    let started = std::time::Instant::now();
    // A byte now and then does not help.
    for byte in body.as_bytes().chunks(1).take(4) {
        slow.send(byte);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let problem = slow.answer("POST", "/api/python/execute").problem(408, "RequestTimeout");
    assert!(problem["detail"].as_str().unwrap().contains("0.7 s"), "{problem}");
    let took = started.elapsed().as_secs_f64();
    assert!((0.6..5.0).contains(&took), "{took} s");

    // In two halves, and in time.
    let mut fine = server.connect();
    fine.send(head.bytes());
    fine.send(&body[..5]);
    std::thread::sleep(std::time::Duration::from_millis(100));
    fine.send(&body[5..]);
    fine.answer("POST", "/api/python/execute").problem(429, "Busy");
    free(&server, running);
}
