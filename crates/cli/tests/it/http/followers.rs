//! Thousands that follow one execution and hear nothing; and clients that send more or slower than they should.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::{
    client::{Connection, Events, Request},
    events::memory,
    executions::{self, path_of},
    server::Server,
};
use crate::{host, require, site};

/// Followers, where there are descriptors for so many.
const FOLLOWERS: usize = 10_000;
/// What one of them may take of the server's memory, in bytes.
const MEMORY_OF_ONE: u64 = 40 << 10;

/// Followers that the limits of this process, which the server inherits, have room for.
fn followers() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let descriptors = limit.maximum.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
    // The server keeps a quarter for programs; other tests have some, too.
    FOLLOWERS.min((descriptors / 4 * 3).saturating_sub(1000))
}

#[test]
fn thousands_may_follow_one_execution() {
    if !require::default_tier() {
        return;
    }
    let count = followers();
    assert!(count >= 500, "{count} descriptors are no test");
    let server = Server::with(&[("MaxConcurrentExecutions", "2"), ("MaxTimeout", "600")]);
    let body = json!({ "code": "import time; time.sleep(500)", "timeout": 500 });
    let running: Vec<String> =
        (0..2).map(|_| server.ask(&Request::start(&body)).json()["executionId"].as_str().unwrap().to_owned()).collect();
    executions::wait_for(&server, &running[1], "Running");
    // One that waits tells nothing, so what is measured is not what is told.
    let quiet = executions::start(&server, "print('heard by all')");
    let follow = Request::get(&format!("{}/events", path_of(&quiet)));
    let first = |_| {
        let mut following = server.connect().follow(&follow);
        assert_eq!(following.next().unwrap().name, "queued");
        following
    };
    let mut all: Vec<Events> = (0..20).map(first).collect();
    let before = memory(&server);
    let began = Instant::now();
    all.extend((all.len()..count).map(first));
    let (growth, took) = (memory(&server).saturating_sub(before), began.elapsed());
    let of_one = growth / (count - 20) as u64;
    assert!(of_one < MEMORY_OF_ONE, "{of_one} bytes for each of {count}");
    assert!(took < site::patience(Duration::from_mins(1)), "{took:?}");

    // Others are served meanwhile.
    let asked = Instant::now();
    assert_eq!(server.ask(&Request::get("/healthz")).ok()["status"], "alive");
    assert_eq!(executions::state(&server, &quiet)["queuePosition"], 1);
    assert!(asked.elapsed() < site::patience(Duration::from_secs(2)), "{:?}", asked.elapsed());
    // Some leave, and all others hear of the end.
    let leaving = all.split_off(count / 2);
    drop(leaving);
    server.ask(&Request::new("DELETE", &path_of(&running[0]))).ok();
    assert_eq!(executions::result(&server, &quiet)["stdout"], "heard by all\n");
    for following in all {
        let events = following.rest();
        assert_eq!(events.last().map(|event| event.name.as_str()), Some("result"));
    }
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    host::eventually("descriptors that are given back", || (descriptors() < 500).then_some(()));
    server.assert_next_works();
    server.ask(&Request::new("DELETE", &path_of(&running[1]))).ok();
}

#[test]
fn heads_are_bounded() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let before = memory(&server);
    let id = executions::start(&server, "print(1)");
    executions::result(&server, &id);
    let path = format!("{}/events", path_of(&id));
    let head = |name: &str, length: usize| {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{name}: {}\r\n\r\n", "1".repeat(length))
    };
    for (name, length) in [("last-event-id", 200 << 10), ("idempotency-key", 140 << 10), ("cookie", 1 << 20)] {
        let mut client = server.connect();
        // It may answer and close before it has all of it.
        drop(client.try_send(head(name, length)));
        let answer = client.answer_to_garbage();
        assert_eq!((answer.status, client.is_closed()), (431, true), "{name}");
    }
    let mut client = server.connect();
    client.send(head("cookie", 16 << 10));
    assert_eq!(client.head().status, 200, "what is large, but not too large, is read");
    // Many heads that do not end: each takes what one may have, and not for long.
    let mut stalled: Vec<Connection> = (0..200).map(|_| server.connect()).collect();
    for client in &mut stalled {
        drop(client.try_send(&head("cookie", 60 << 10)[..60 << 10]));
    }
    std::thread::sleep(Duration::from_millis(500));
    let growth = memory(&server).saturating_sub(before);
    assert!(growth < 200 * (128 << 10) + (16 << 20), "{growth} bytes");
    server.assert_next_works();
    for client in &mut stalled {
        assert!(client.is_closed());
    }
    server.assert_next_works();
}

#[test]
fn a_slow_form_is_not_waited_for() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("BodyTimeout", "0.5")]);
    for path in ["/api/python/executions", "/api/sandbox/execute-async"] {
        let mut slow = server.connect();
        let request = Request::post(path, "--limit\r\n")
            .header("content-type", "multipart/form-data; boundary=limit")
            .header("content-length", "1000");
        slow.send(request.bytes());
        slow.answer("POST", path).problem(408, "RequestTimeout");
    }
    assert_eq!(server.ask(&Request::get("/api/python/executions")).ok()["executions"], json!([]));
    server.assert_next_works();
}
