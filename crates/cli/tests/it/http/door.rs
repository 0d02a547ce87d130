//! Who may come in: keys, names, addresses.

use serde_json::json;

use super::{
    client::Request,
    server::{Server, command},
};
use crate::{
    place::{Place, finish},
    require,
};

const KEY: &str = "first-key-0123456789";
const OTHER: &str = "second-key-9876543210";

#[test]
fn with_keys_nobody_comes_in_without_one() {
    if !require::default_tier() {
        return;
    }
    let mut server = Server::with(&[("ApiKeys__0", KEY), ("ApiKeys__1", OTHER)]);
    let hello = Request::execute(&json!({ "code": "print('in')" }));
    let wrong = [
        ("x-none", "x"),
        ("authorization", "Bearer wrong-key-0123456789"),
        ("authorization", "Bearer "),
        ("authorization", "Bearer"),
        ("authorization", &KEY[..19]),
        ("authorization", "Basic Zmlyc3Qta2V5LTAxMjM0NTY3ODk6"),
        ("x-api-key", "first-key-012345678"),
        ("x-api-key", "FIRST-KEY-0123456789"),
        ("cookie", "x-api-key=first-key-0123456789"),
    ];
    for (name, value) in wrong {
        for request in [
            hello.clone(),
            Request::post("/api/python/validate", "{\"code\": \"1\"}"),
            Request::get("/api/python/capabilities"),
            Request::get("/api/python/capabilities?key=first-key-0123456789"),
            Request::get("/api/python/executions"),
            Request::get("/no/such/path"),
            Request::new("DELETE", "/healthz/"),
        ] {
            let answer = server.ask(&request.header(name, value));
            let problem = answer.problem(401, "Unauthenticated");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{problem}");
            assert!(!problem.to_string().contains("key-0"), "a key is not repeated: {problem}");
        }
    }
    // The body of a stranger is not even read.
    let huge = hello.clone().header("content-length", "5000000000");
    server.ask(&huge).problem(401, "Unauthenticated");

    let bearer = format!("Bearer {KEY}");
    for (name, value) in
        [("authorization", bearer.as_str()), ("authorization", "bearer second-key-9876543210"), ("x-api-key", OTHER)]
    {
        // With a key, a foreign name is no danger.
        let result = server.ask(&hello.clone().header(name, value).header("host", "sandbox.example")).ok();
        assert_eq!(result["stdout"], "in\n");
    }
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(server.ask(&Request::get(path).header("host", "10.0.0.7")).status, 200);
    }
    let log = server.stop();
    assert!(!log.contains("first-key") && !log.contains("second-key") && !log.contains("wrong-key"), "{log}");
    assert!(log.matches("status=401").count() > 60, "strangers are in the log");
}

#[test]
fn a_foreign_name_does_not_reach_a_loopback_door() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("AllowedHosts__0", "box.example")]);
    let hello = Request::execute(&json!({ "code": "print('in')" }));
    let port = server.address.port();
    for name in
        ["evil.example", "evil.example:5000", "localhost.evil.example", "127.0.0.1.evil.example", "box.example.evil"]
    {
        for request in [hello.clone(), Request::get("/api/python/capabilities"), Request::get("/api/python/executions")]
        {
            let problem = server.ask(&request.header("host", name)).problem(403, "HostNotAllowed");
            assert!(problem["hint"].as_str().unwrap().contains("AllowedHosts"), "{problem}");
        }
    }
    for name in ["localhost", "LocalHost", "127.0.0.1", "[::1]", "box.example", "BOX.example"] {
        for name in [name.to_owned(), format!("{name}:{port}")] {
            assert_eq!(server.ask(&hello.clone().header("host", &name)).ok()["stdout"], "in\n", "{name}");
        }
    }
    // An orchestrator asks by whatever name.
    assert_eq!(server.ask(&Request::get("/healthz").header("host", "evil.example")).status, 200);
}

#[test]
fn a_web_page_cannot_run_programs() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let hello = Request::execute(&json!({ "code": "print('in')" }));
    // What a page can have a browser send without asking first.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
        let sent = hello.clone().header("origin", "http://evil.example").header("content-type", kind);
        let problem = server.ask(&sent).problem(415, "UnsupportedMediaType");
        assert!(problem["hint"].as_str().unwrap().contains("application/json"), "{problem}");
    }
    server.ask(&hello.clone().without_header("content-type")).problem(415, "UnsupportedMediaType");
    // The question that a browser asks first is not answered with a permission.
    let preflight = Request::new("OPTIONS", "/api/python/execute")
        .header("origin", "http://evil.example")
        .header("access-control-request-method", "POST");
    let answer = server.ask(&preflight);
    answer.problem(405, "MethodNotAllowed");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    for kind in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.aevatar+json"] {
        assert_eq!(server.ask(&hello.clone().header("content-type", kind)).ok()["stdout"], "in\n", "{kind}");
    }
}

/// Addresses of nobody (RFC 5737), so that nothing is opened to anybody even when it should start.
const ELSEWHERE: &str = "192.0.2.1";

#[test]
fn an_open_door_to_the_world_is_refused() {
    let place = Place::new();
    let serve = |arguments: &[&str], settings: &[(&str, &str)]| finish(command(&place, arguments, settings), b"");
    for host in [ELSEWHERE, "0.0.0.0", "::"] {
        let refused = serve(&["--host", host], &[]);
        assert_eq!(refused.code, 2, "{refused:?}");
        let expected = format!("error: refusing to serve on {host} without authentication");
        assert!(refused.stderr.starts_with(&expected), "{refused:?}");
        assert!(refused.stderr.contains("\nhint: make a key with `aevatar-sandbox key create`"), "{refused:?}");
    }
    let configured = serve(&[], &[("Host", ELSEWHERE)]);
    assert!(configured.code == 2 && configured.stderr.contains("refusing"), "{configured:?}");
    // Told explicitly, or with a key: it goes on to where the address turns out not to be here.
    for (flags, settings) in [
        (&["--host", ELSEWHERE, "--allow-unauthenticated"][..], &[][..]),
        (&["--host", ELSEWHERE], &[("AllowUnauthenticated", "true")]),
        (&["--host", ELSEWHERE], &[("ApiKeys__0", KEY)]),
    ] {
        let absent = serve(flags, settings);
        assert_eq!(absent.code, 2, "{absent:?}");
        assert!(absent.stderr.contains("could not listen on 192.0.2.1:0"), "{absent:?}");
        assert!(!absent.stderr.contains(KEY), "{absent:?}");
    }
    place.assert_nothing_left(&[], &[]);
}

#[test]
fn a_door_to_the_world_asks_for_a_key() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let command = command(&place, &["--host", "0.0.0.0"], &[("ApiKeys__0", KEY)]);
    let server = Server::of(place, command);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    let hello = Request::execute(&json!({ "code": "print('in')" }));
    let ask = |request: &Request| super::client::Connection::open(address).ask(request);
    ask(&hello).problem(401, "Unauthenticated");
    assert_eq!(ask(&hello.header("x-api-key", KEY)).ok()["stdout"], "in\n");
}
