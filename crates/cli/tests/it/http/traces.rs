//! Traces, as a collector gets them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use super::{client::Request, server::Server};
use crate::{host, require, site};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Takes what is sent to it, and answers 200. Its thread ends with the test's process.
struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, kept) = (stream.unwrap(), Arc::clone(&kept));
                std::thread::spawn(move || {
                    let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        received.extend_from_slice(&buffer[..length]);
                        while let Some(body) = take_request(&mut received) {
                            kept.lock().unwrap().extend(body);
                            let answer =
                                "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                            stream.write_all(answer.as_bytes()).unwrap();
                        }
                    }
                });
            }
        });
        Self { address, bodies }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often these bytes were sent.
    fn count(&self, bytes: &[u8]) -> usize {
        self.bodies.lock().unwrap().windows(bytes.len()).filter(|window| *window == bytes).count()
    }
}

/// The body of the first request, once it is there as a whole.
fn take_request(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(received[..end].to_vec()).unwrap().to_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let whole = end + length.trim().parse::<usize>().unwrap();
    (received.len() >= whole).then(|| received.drain(..whole).skip(end).collect())
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A text field of a message: its length is before it.
fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

#[test]
fn a_request_is_of_the_trace_that_it_tells_of() {
    if !require::default_tier() {
        return;
    }
    let collector = Collector::start();
    let mut server = Server::with(&[("OtlpEndpoint", &collector.endpoint())]);
    let with = |request: Request, flags: &str| request.header("traceparent", &format!("00-{TRACE}-{PARENT}-{flags}"));
    server.ask(&with(Request::execute(&json!({ "code": "print(1)" })), "01")).ok();
    let code = json!({ "code": "print(2)", "isolation": { "zygote": "off" } }).to_string();
    let started = server.ask(&with(Request::post("/api/python/executions", code), "01"));
    assert_eq!(started.status, 202);
    host::eventually("two ends", || (server.log().matches("execution ended").count() == 2).then_some(()));
    let log = server.stop();
    // The end of the server sends what was not sent.
    let trace = bytes(TRACE);
    // Two requests, one `execution`, and each one's steps.
    assert!(collector.count(&trace) >= 2 + 1 + 2 * 5, "{}", collector.count(&trace));
    assert_eq!(collector.count(&bytes(PARENT)), 2, "the parent of two requests");
    for step in ["validate", "queue", "launch", "run", "record"] {
        assert!(collector.count(&text(step)) >= 2, "{step}");
    }
    assert_eq!(collector.count(&text("execution")), 1);
    assert_eq!(collector.count(&text("POST /api/python/execute")), 1);
    assert_eq!(collector.count(&text("POST /api/python/executions")), 1);
    assert!(collector.count(b"aevatar-sandbox") >= 1, "the name of the service");
    assert_eq!(collector.count(b"print("), 0, "programs are no part of traces");
    // The lines are those of a server without traces.
    assert!(!log.contains("request{") && !log.contains("execution{") && !log.contains("traceparent"), "{log}");
    assert!(!log.contains("traces are"), "{log}");
}

#[test]
fn a_caller_that_does_not_sample_is_not_traced() {
    if !require::default_tier() {
        return;
    }
    let collector = Collector::start();
    let mut server = Server::with(&[("OtlpEndpoint", &collector.endpoint())]);
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    server.ask(&Request::execute(&json!({ "code": "print(1)" })).header("traceparent", &unsampled)).ok();
    let nonsense = Request::execute(&json!({ "code": "print(1)" })).header("traceparent", "00-nonsense");
    server.ask(&nonsense).ok();
    server.stop();
    assert_eq!(collector.count(&bytes(TRACE)), 0);
    assert_eq!(collector.count(&text("POST /api/python/execute")), 1, "in a trace of its own");
}

#[test]
fn a_server_does_not_need_its_collector() {
    if !require::default_tier() {
        return;
    }
    // Nothing listens there any more; and one that takes connections and never answers.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [dead, silent.local_addr().unwrap()] {
        let mut server = Server::with(&[("OtlpEndpoint", &format!("http://{address}/")), ("LogFormat", "Text")]);
        for _ in 0..5 {
            server.assert_next_works();
        }
        let asked = Instant::now();
        server.signal(Signal::TERM);
        let outcome = server.finish();
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert!(asked.elapsed() < site::patience(Duration::from_secs(10)), "{:?}", asked.elapsed());
        assert!(outcome.stderr.matches("traces are lost").count() <= 1, "{outcome:?}");
    }
}

#[test]
fn an_address_that_is_none_stops_the_start() {
    let place = crate::place::Place::new();
    for wrong in ["https://collector.example:4318", "127.0.0.1:4318", "http://"] {
        let command = super::server::command(&place, &[], &[("OtlpEndpoint", wrong)]);
        let outcome = crate::running::Running::start(command).finish();
        assert_ne!(outcome.code, 0, "{outcome:?}");
        assert!(outcome.stderr.contains("OtlpEndpoint") && outcome.stderr.contains("http://127"), "{outcome:?}");
    }
}
