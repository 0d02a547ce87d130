//! HTTP itself: methods, connections, bodies, and what is no HTTP.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{client::Request, server::Server};
use crate::{require, site};

#[test]
fn what_is_not_there_is_a_problem() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    for path in ["/", "/api", "/api/python/execute/", "/api/python/Execute", "/healthz/", "/%2e%2e/etc/passwd", "/a?b"]
    {
        server.ask(&Request::get(path)).problem(404, "NotFound");
        server.ask(&Request::post(path, "{}")).problem(404, "NotFound");
    }
    let long = format!("/{}", "a".repeat(5000));
    assert!(server.ask(&Request::get(&long)).problem(404, "NotFound").to_string().len() < 1000);
    for (method, path, allowed) in [
        ("GET", "/api/python/execute", "POST"),
        ("PUT", "/api/python/execute", "POST"),
        ("DELETE", "/api/python/validate", "POST"),
        ("OPTIONS", "/api/python/execute", "POST"),
        ("POST", "/api/python/capabilities", "GET,HEAD"),
        ("POST", "/healthz", "GET,HEAD"),
        ("PATCH", "/readyz", "GET,HEAD"),
        ("TRACE", "/openapi.json", "GET,HEAD"),
    ] {
        let answer = server.ask(&Request::new(method, path));
        let problem = answer.problem(405, "MethodNotAllowed");
        assert_eq!(answer.header("allow"), Some(allowed), "{problem}");
    }
    for path in ["/healthz", "/readyz", "/api/python/capabilities", "/openapi.json"] {
        let answer = server.ask(&Request::new("HEAD", path));
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-length").unwrap().parse::<u64>().unwrap() > 0, "{answer:?}");
    }
    server.assert_next_works();
}

#[test]
fn a_connection_serves_many_requests() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let mut connection = server.connect();
    let program = |number: u32| Request::execute(&json!({ "code": format!("print({number})") }));
    for number in 0..3 {
        assert_eq!(connection.ask(&program(number)).ok()["stdout"], format!("{number}\n"));
        // A request that is refused does not end the connection.
        connection.ask(&Request::post("/api/python/execute", "{")).problem(400, "MalformedJson");
    }
    // All at once: answers come in the order of the requests.
    let all = [program(10), Request::get("/healthz"), program(11), Request::get("/none"), program(12)];
    connection.send(all.iter().flat_map(Request::bytes).collect::<Vec<u8>>());
    assert_eq!(connection.answer("POST", "/api/python/execute").ok()["stdout"], "10\n");
    assert_eq!(connection.answer("GET", "/healthz").ok()["status"], "alive");
    assert_eq!(connection.answer("POST", "/api/python/execute").ok()["stdout"], "11\n");
    connection.answer("GET", "/none").problem(404, "NotFound");
    assert_eq!(connection.answer("POST", "/api/python/execute").ok()["stdout"], "12\n");
    connection.ask(&Request::get("/healthz").header("connection", "close")).ok();
    assert!(connection.is_closed());
}

#[test]
fn a_body_may_come_in_chunks_or_after_a_go_ahead() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let body = json!({ "code": "print(len(input()))", "stdin": "x".repeat(2 << 20) }).to_string();
    let head = "POST /api/python/execute HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let mut chunked = server.connect();
    chunked.send(head);
    chunked.send("transfer-encoding: chunked\r\n\r\n");
    for chunk in body.as_bytes().chunks(100_000) {
        chunked.send(format!("{:x};extension=1\r\n", chunk.len()));
        chunked.send(chunk);
        chunked.send("\r\n");
    }
    chunked.send("0\r\ntrailer: 1\r\n\r\n");
    assert_eq!(chunked.answer("POST", "/api/python/execute").ok()["stdout"], "2097152\n");

    let mut polite = server.connect();
    polite.send(head);
    polite.send(format!("expect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len()));
    assert_eq!(polite.head().status, 100);
    polite.send(&body);
    assert_eq!(polite.answer("POST", "/api/python/execute").ok()["stdout"], "2097152\n");
    // Whoever is refused anyway is not asked for the body.
    polite.send(head);
    polite.send(format!("expect: 100-continue\r\ncontent-length: {}\r\n\r\n", 9 << 20));
    polite.answer("POST", "/api/python/execute").problem(413, "RequestTooLarge");

    let mut broken = server.connect();
    broken.send(head);
    broken.send("transfer-encoding: chunked\r\n\r\nzz\r\n");
    broken.answer("POST", "/api/python/execute").problem(400, "MalformedJson");
    server.assert_next_works();
}

#[test]
fn what_is_no_http_is_refused() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let smuggled = "POST /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\n";
    for (garbage, status) in [
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{FC}\u{3}\u{3}\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\n\r\n", 400),
        ("GET /\0 HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: local\0host\r\n\r\n", 400),
        (smuggled, 400),
        (&format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(1 << 20)), 431),
        (&format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1000)), 431),
        (&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)), 414),
    ] {
        let mut connection = server.connect();
        // It may answer and close before it has all of it.
        drop(connection.try_send(garbage));
        let answer = connection.answer_to_garbage();
        assert_eq!(answer.status, status, "{garbage:.40}");
        assert!(answer.body.is_empty() && connection.is_closed(), "{garbage:.40}");
    }
    let no_host = "GET /api/python/capabilities HTTP/1.1\r\n\r\n";
    let mut connection = server.connect();
    connection.send(no_host);
    connection.answer("GET", "/api/python/capabilities").problem(403, "HostNotAllowed");
    server.assert_next_works();
}

#[test]
fn a_slow_head_is_not_waited_for() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let started = Instant::now();
    let (mut silent, mut slow, mut idle) = (server.connect(), server.connect(), server.connect());
    assert_eq!(idle.ask(&Request::get("/healthz")).status, 200);
    let head = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy";
    for byte in head.chunks(1).take(26) {
        if slow.try_send(byte).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    // The others go on meanwhile.
    server.assert_next_works();
    for connection in [&mut silent, &mut slow, &mut idle] {
        assert!(connection.is_closed());
        let took = started.elapsed();
        assert!((Duration::from_secs(14)..site::patience(Duration::from_secs(22))).contains(&took), "{took:?}");
    }
    server.assert_next_works();
}
