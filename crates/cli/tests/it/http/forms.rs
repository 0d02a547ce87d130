//! Programs and files as a form.

use serde_json::json;

use super::{client::Request, executions, server::Server};
use crate::require;

const EXECUTE: &str = "/api/python/execute";
const START: &str = "/api/python/executions";

/// A part: its disposition, and what it has.
fn part(disposition: &str, content: &[u8]) -> Vec<u8> {
    [format!("--limit\r\ncontent-disposition: form-data; {disposition}\r\n\r\n").as_bytes(), content, b"\r\n"].concat()
}

fn form(path: &str, parts: &[Vec<u8>]) -> Request {
    let body = [parts.concat().as_slice(), b"--limit--\r\n"].concat();
    Request::post(path, body).header("content-type", "multipart/form-data; boundary=limit")
}

fn request(code: &str) -> Vec<u8> {
    part("name=\"request\"", json!({ "code": code }).to_string().as_bytes())
}

fn file(path: &str, content: &[u8]) -> Vec<u8> {
    part(&format!("name=\"files\"; filename=\"{path}\""), content)
}

#[test]
fn a_form_is_a_request() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let files = [file("a.txt", b"first\r\n--limi"), file("folder/b.bin", &[0, 255, 13, 10, 0])];
    for parts in [
        vec![request("print('form')")],
        vec![request("print('form')"), files[0].clone(), files[1].clone()],
        vec![files[0].clone(), request("print('form')"), files[1].clone()],
        vec![part("name=\"request\"; filename=\"request.json\"", b"{\"code\": \"print('form')\"}")],
    ] {
        assert_eq!(server.ask(&form(EXECUTE, &parts)).ok()["stdout"], "form\n");
        let started = server.ask(&form(START, &parts));
        assert_eq!(started.status, 202, "{}", started.text());
        let id = started.json()["executionId"].as_str().unwrap().to_owned();
        assert_eq!(executions::result(&server, &id)["stdout"], "form\n");
    }
    // The files are a part of what is asked for.
    let named = |parts: &[Vec<u8>]| server.ask(&form(EXECUTE, parts).header("idempotency-key", "form"));
    let first = named(&[request("print(1)"), files[0].clone()]).ok();
    assert_eq!(named(&[request("print(1)"), files[0].clone()]).ok()["executionId"], first["executionId"]);
    named(&[request("print(1)"), files[1].clone()]).problem(409, "IdempotencyConflict");
    server.assert_next_works();
}

#[test]
fn what_is_wrong_with_a_form_is_named() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let many: Vec<Vec<u8>> = (0..300).map(|number| file(&format!("{number}"), b"")).collect();
    for (parts, said) in [
        (vec![], "no part `request`"),
        (vec![file("a", b"1")], "no part `request`"),
        (vec![request("1"), request("2")], "twice"),
        (vec![request("1"), part("name=\"other\"", b"1")], "`other`"),
        (vec![part("name=\"request\"", b"")], ""),
        (vec![part("name=\"request\"", b"{\"cod\": 1}")], "`cod`"),
        (many, "more than 200"),
    ] {
        for path in [EXECUTE, START] {
            let problem = server.ask(&form(path, &parts)).json();
            assert_eq!(problem["status"], 400, "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains(said), "{said}: {problem}");
        }
    }
    let typed = |kind: &str, body: &[u8]| server.ask(&Request::post(EXECUTE, body).header("content-type", kind));
    let whole = [request("print(1)").as_slice(), b"--limit--\r\n"].concat();
    for (kind, body) in [
        ("multipart/form-data; boundary=other", whole.as_slice()),
        ("multipart/form-data; boundary=", &whole),
        ("multipart/form-data; boundary=limit", &whole[..whole.len() - 20]),
        ("multipart/form-data; boundary=limit", b"--limit\r\nno header\r\n\r\n1\r\n--limit--\r\n"),
        ("multipart/form-data; boundary=limit", b"--limit"),
    ] {
        typed(kind, body).problem(400, "InvalidRequest");
    }
    for kind in ["multipart/form-data", "multipart/mixed; boundary=limit", "text/plain"] {
        typed(kind, &whole).problem(415, "UnsupportedMediaType");
    }
    assert_eq!(typed("multipart/form-data; boundary=limit", &whole).ok()["stdout"], "1\n");
    server.assert_next_works();
}

/// A browser sends a form to anybody without asking, and says for whom.
#[test]
fn a_web_page_sends_no_form() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    for path in [EXECUTE, START] {
        let form = form(path, &[request("print(1)")]);
        for origin in ["https://evil.example", "null", "http://localhost"] {
            server.ask(&form.clone().header("origin", origin)).problem(415, "UnsupportedMediaType");
        }
        assert_eq!(server.ask(&form).status / 100, 2);
    }
    let listed = server.ask(&Request::get(START)).ok();
    assert_eq!(listed["executions"].as_array().unwrap().len(), 2, "nothing else was run: {listed}");
    server.assert_next_works();
}
