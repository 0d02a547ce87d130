//! The page of documentation, and what browsers are told.

use std::{path::Path, process::Command};

use super::{
    client::{Answer, Request},
    contract,
    server::Server,
};
use crate::{place::finish, require, site};

const KEY: &str = "a-key-of-this-test-only";
const FILES: [(&str, &str); 3] = [
    ("/docs", "text/html; charset=utf-8"),
    ("/docs/style.css", "text/css; charset=utf-8"),
    ("/docs/script.js", "text/javascript; charset=utf-8"),
];

/// The page is for people, so the document says nothing of it.
fn get(server: &Server, path: &str) -> Answer {
    let mut connection = server.connect();
    connection.send(Request::get(path).bytes());
    connection.answer_to_garbage()
}

#[test]
fn the_page_needs_no_key_and_nothing_from_elsewhere() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("ApiKeys__0", KEY)]);
    for (path, kind) in FILES {
        let answer = get(&server, path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        let text = answer.text();
        for forbidden in ["http://", "https://", "src=\"//", "url(", "innerHTML", "eval(", "import(", "@import"] {
            assert!(!text.contains(forbidden), "{path} has {forbidden}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    }
    assert_eq!(server.ask(&Request::get("/openapi.json")).status, 200);
    // What is beside it needs one.
    server.ask(&Request::get("/docs/")).problem(401, "Unauthenticated");
    server.ask(&Request::get("/docs/../api/python/executions")).problem(401, "Unauthenticated");
}

#[test]
fn browsers_are_told_to_do_nothing_with_answers() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    for path in ["/docs", "/openapi.json", "/healthz", "/api/python/executions", "/no/such/path"] {
        let answer = get(&server, path);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(answer.header("access-control-allow-origin").is_none(), "{path}");
    }
}

#[test]
fn a_browser_shows_every_operation_and_schema() {
    let browser = Path::new("/usr/bin/chromium");
    let there = if browser.exists() { Ok(()) } else { Err("there is no chromium".to_owned()) };
    if !require::default_tier() || !require::or_skip(there) {
        return;
    }
    let server = Server::start();
    let folder = tempfile::Builder::new().prefix("browser-").tempdir_in(site::scratch()).unwrap();
    let mut command = Command::new(browser);
    // Its own sandbox does not work for root; what it shows is ours.
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", folder.path().display()));
    command.env("TMPDIR", folder.path()).env("HOME", folder.path());
    command.arg(format!("http://{}/docs#operation-startExecution", server.address));
    let page = finish(command, b"").stdout;
    for documented in contract::documented() {
        assert!(page.contains(&format!("<code>{}</code>", documented.path)), "{}", documented.path);
    }
    let document: serde_json::Value = serde_json::from_str(contract::TEXT).unwrap();
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("id=\"schema-{name}\"")), "{name}");
    }
    assert!(page.contains("<details id=\"operation-startExecution\" class=\"operation\" open=\"\">"), "{page:.3000}");
    for mistake in ["[object ", "undefined", "NaN"] {
        assert!(!page.contains(mistake), "{mistake}");
    }
}
