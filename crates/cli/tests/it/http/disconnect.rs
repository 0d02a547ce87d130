//! A client that goes away takes its program with it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    client::{Connection, Request},
    server::Server,
};
use crate::{host, require, site};

/// Daemons that have left the program's session, and a file that grows.
const STUBBORN: &str = r"
import os, signal, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        time.sleep(60)
open('/work/file', 'wb').write(bytes(1 << 20))
time.sleep(60)
";

/// Starts the program in a server with one place, has the client leave by `leave`, and looks for what is left.
fn leaves(logged: &str, leave: impl FnOnce(Connection) -> Option<Connection>) {
    let server = Server::with(&[("MaxConcurrentExecutions", "1"), ("MaxQueueLength", "0")]);
    let idle = server.sandboxes();
    let client = server.start_program(STUBBORN);
    host::eventually("five processes", || (server.programs().len() == 5).then_some(()));
    assert!(server.sandboxes().len() > idle.len(), "its cgroups are seen while it runs");
    server.execute(&json!({ "code": "print(1)" })).problem(429, "Busy");
    let left = Instant::now();
    let _half_open = leave(client);
    server.assert_nothing_runs(&idle);
    // Its place was given back.
    host::eventually("a place", || (server.execute(&json!({ "code": "1" })).status == 200).then_some(()));
    let took = left.elapsed();
    assert!(took < site::patience(Duration::from_secs(5)), "{took:?}");
    server.assert_next_works();
    let log = server.log();
    assert!(log.contains(logged), "{log}");
}

#[test]
fn a_client_that_closes_cancels() {
    if require::default_tier() {
        leaves("the client went away", |client| {
            drop(client);
            None
        });
    }
}

#[test]
fn a_client_that_says_that_it_is_done_cancels() {
    if require::default_tier() {
        leaves("the client went away", |client| {
            client.finish_sending();
            Some(client)
        });
    }
}

#[test]
fn a_client_that_closes_with_another_request_under_way_cancels() {
    if require::default_tier() {
        leaves("reason=Cancelled", |mut client| {
            client.send(Request::get("/healthz").bytes());
            drop(client);
            None
        });
    }
}

#[test]
fn a_client_that_leaves_within_its_body_starts_nothing() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    for length in [0, 1, 10, 20] {
        let mut client = server.connect();
        let request = Request::execute(&json!({ "code": "import time; time.sleep(60)" })).bytes();
        client.send(&request[..request.len() - 20 + length.min(19)]);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.programs(), []);
    server.assert_next_works();
}

#[test]
fn clients_that_leave_at_any_moment_leave_nothing() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "40")]);
    leave_at_any_moment(&server, &Request::execute(&json!({ "code": "import time; time.sleep(60)" })));
    server.assert_next_works();
}

/// Clients send `request` and leave, each a little later; of their programs nothing may be left.
pub(super) fn leave_at_any_moment(server: &Server, request: &Request) {
    let idle = server.sandboxes();
    for round in 0..30 {
        let mut client = server.connect();
        client.send(request.bytes());
        std::thread::sleep(Duration::from_millis(round));
    }
    server.assert_nothing_runs(&idle);
}
