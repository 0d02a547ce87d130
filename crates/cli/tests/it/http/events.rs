//! What happens to an execution, as a stream of events.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    client::{Connection, Event, Request},
    disconnect,
    executions::{self, path_of},
    server::Server,
};
use crate::{require, site};

fn events(id: &str) -> Request {
    Request::get(&format!("{}/events", path_of(id)))
}

fn after(id: &str, last: u64) -> Request {
    events(id).header("last-event-id", &last.to_string())
}

/// Runs a program and tells what happens.
fn execute(code: &str) -> Request {
    Request::execute(&json!({ "code": code, "timeout": 120 })).header("accept", "text/event-stream")
}

/// What the events have of a stream, each piece at its place.
fn output(events: &[Event], stream: &str) -> String {
    let mut text = String::new();
    for event in events.iter().filter(|event| event.name == stream) {
        assert_eq!(event.data["offset"], text.len(), "{event:?}");
        text.push_str(event.data["text"].as_str().unwrap());
    }
    text
}

fn assert_numbered(events: &[Event], first: u64) {
    let ids: Vec<u64> = events.iter().map(|event| event.id).collect();
    let wanted: Vec<u64> = (first..first + events.len() as u64).collect();
    assert_eq!(ids, wanted);
}

/// Writes for some seconds, more than once a second.
const TICKS: &str = "import sys, time\nfor number in range(12):\n    print('tick', number, flush=True)\n    \
                     print('tock', number, file=sys.stderr, flush=True)\n    time.sleep(0.25)";

fn ticks(word: &str) -> String {
    (0..12).flat_map(|number| [word, " ", &number.to_string(), "\n"].map(str::to_owned)).collect()
}

#[test]
fn events_come_in_order_and_without_gaps() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let id = executions::start(&server, TICKS);
    let mut following = server.connect().follow(&events(&id));
    let first = following.until("stdout");
    assert_eq!(executions::state(&server, &id)["status"], "Running", "they come while it runs");
    let all: Vec<Event> = first.into_iter().chain(following.rest()).collect();
    assert_numbered(&all, 1);
    let names: Vec<&str> = all.iter().map(|event| event.name.as_str()).collect();
    assert_eq!((names[0], names[1], *names.last().unwrap()), ("queued", "started", "result"), "{names:?}");
    for (name, count) in [("queued", 1), ("started", 1), ("result", 1), ("lost", 0)] {
        assert_eq!(names.iter().filter(|known| **known == name).count(), count, "{names:?}");
    }
    assert!(names.iter().filter(|name| **name == "usage").count() >= 2, "{names:?}");
    assert!(names.iter().filter(|name| **name == "stdout").count() >= 6, "{names:?}");
    assert_eq!((output(&all, "stdout"), output(&all, "stderr")), (ticks("tick"), ticks("tock")));
    assert_eq!((&all[0].data["executionId"], &all[0].data["status"]), (&id.clone().into(), &"Pending".into()));
    assert_eq!(all[1].data["status"], "Running");
    assert_eq!(all.last().unwrap().data, executions::result(&server, &id), "the last one is the result");

    // Of one that has ended, the same.
    assert_eq!(server.connect().follow(&events(&id)).rest(), all);
    server.assert_next_works();
}

#[test]
fn a_reader_goes_on_where_it_was() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let id = executions::start(&server, TICKS);
    let whole = server.connect().follow(&events(&id));
    // Breaks off after each few events, and comes again.
    let (mut parts, mut last) = (Vec::new(), 0);
    for round in 0.. {
        let request = match round % 3 {
            0 => after(&id, last),
            1 => Request::get(&format!("{}/events?after={last}", path_of(&id))),
            // The header comes first.
            _ => Request::get(&format!("{}/events?after=1000000", path_of(&id)))
                .header("last-event-id", &last.to_string()),
        };
        let mut following = server.connect().follow(&request);
        let mut taken = 0;
        while let Some(event) = following.next() {
            last = event.id;
            parts.push(event);
            taken += 1;
            if taken == 3 {
                break;
            }
        }
        if parts.last().is_some_and(|event: &Event| event.name == "result") {
            break;
        }
    }
    let whole = whole.rest();
    assert!(whole.len() > 12);
    assert_eq!(parts, whole, "nothing is lost, and nothing comes twice");
    for last in 0..=whole.len() {
        let rest = server.connect().follow(&after(&id, last as u64)).rest();
        assert_eq!(rest, whole[last..], "after {last}");
    }
    server.assert_next_works();
}

#[test]
fn whoever_knows_more_than_there_is_hears_of_what_comes() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let id = executions::start(&server, "import time; time.sleep(1.5); print('done')");
    executions::wait_for(&server, &id, "Running");
    for last in [1000, u64::MAX - 1, u64::MAX] {
        let rest = server.connect().follow(&after(&id, last)).rest();
        if rest.is_empty() {
            // It ended before.
            assert_eq!(executions::state(&server, &id)["isCompleted"], true);
            assert_ne!(last, 1000);
            continue;
        }
        assert_eq!(rest.last().unwrap().name, "result", "{rest:?}");
    }
    for last in ["x", "-1", "1.5", "18446744073709551616", "\u{661}"] {
        let problem = server.ask(&events(&id).header("last-event-id", last)).problem(400, "InvalidRequest");
        assert_eq!(problem["field"], "Last-Event-ID", "{problem}");
        let escaped = if last.is_ascii() { last } else { "%d9%a1" };
        server.ask(&Request::get(&format!("{}/events?after={escaped}", path_of(&id)))).problem(400, "InvalidRequest");
    }
    server.ask(&Request::get(&format!("{}/events?since=1", path_of(&id)))).problem(400, "InvalidRequest");
    server.assert_next_works();
}

#[test]
fn a_program_is_run_and_told_of() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    for accept in ["text/event-stream", "application/json;q=0.1, Text/Event-Stream ; q=1"] {
        let all = server.connect().follow(&execute("print('one'); print('two')").header("accept", accept)).rest();
        assert_numbered(&all, 1);
        assert_eq!(output(&all, "stdout"), "one\ntwo\n");
        let result = &all.last().unwrap().data;
        assert_eq!(result["stdout"], "one\ntwo\n");
        assert_eq!(executions::result(&server, result["executionId"].as_str().unwrap()), *result);
    }
    // What is refused is a problem, as ever.
    server.ask(&execute("import ctypes")).problem(422, "CodeRejected");
    server.ask(&execute("1").header("idempotency-key", "")).problem(400, "InvalidRequest");
    for accept in ["*/*", "text/*", "text/html", ""] {
        let answer = server.ask(&execute("print(1)").header("accept", accept));
        assert_eq!((answer.header("content-type"), &answer.ok()["stdout"]), (Some("application/json"), &"1\n".into()));
    }
    // An execution that nobody followed can be followed afterwards.
    let id = server.run("import sys; print('out'); print('err', file=sys.stderr)")["executionId"].clone();
    let all = server.connect().follow(&events(id.as_str().unwrap())).rest();
    let names: Vec<&str> = all.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["queued", "started", "stdout", "stderr", "result"]);
    assert_numbered(&all, 1);
    server.assert_next_works();
}

#[test]
fn a_character_in_two_writes_is_one() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let code = "import sys, time\nout = sys.stdout.buffer\nfor byte in 'é中𝄞!'.encode():\n    out.write(bytes([byte]))\n    \
                out.flush()\n    time.sleep(0.1)\nout.write(b'\\xff')\nout.flush()\ntime.sleep(0.1)\nout.write(b'\\xe4\\xb8')";
    let mut following = server.connect().follow(&execute(code));
    let all: Vec<Event> = std::iter::from_fn(|| following.next()).collect();
    assert_eq!(output(&all, "stdout"), "é中𝄞!\u{FFFD}\u{FFFD}");
    assert!(all.iter().filter(|event| event.name == "stdout").count() >= 4, "{all:?}");
    let bad =
        all.iter().filter(|event| event.name == "stdout" && event.data["text"].as_str().unwrap().contains('\u{FFFD}'));
    assert!(bad.count() <= 2, "only what is none: {all:?}");
    server.assert_next_works();
}

/// How a client leaves; what is still open of its connection.
type Leave = fn(Connection) -> Option<Connection>;

#[test]
fn whoever_ran_a_program_and_leaves_ends_it() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "1")]);
    let code = "import os, time\nif os.fork() == 0: os.setsid()\nprint('here', flush=True)\ntime.sleep(100)";
    let ways: [Leave; 3] = [
        |client| {
            drop(client);
            None
        },
        |client| {
            client.finish_sending();
            Some(client)
        },
        |mut client| {
            client.send(Request::get("/healthz").bytes());
            drop(client);
            None
        },
    ];
    for leave in ways {
        let mut client = server.connect().follow(&execute(code));
        let id = client.until("stdout")[0].data["executionId"].as_str().unwrap().to_owned();
        assert_eq!(server.programs().len(), 2);
        // Somebody who follows hears of the end.
        let follower = server.connect().follow(&events(&id));
        let _half_open = leave(client.into_connection());
        server.assert_no_processes();
        let last = follower.rest().pop().unwrap();
        assert_eq!((last.name.as_str(), &last.data["status"]), ("result", &"Cancelled".into()));
        assert_eq!(executions::result(&server, &id), last.data);
    }
    server.assert_next_works();
}

#[test]
fn whoever_follows_and_leaves_ends_nothing() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let code = "import time; print('here', flush=True); time.sleep(3); print('done')";
    let id = executions::start(&server, code);
    // Also one that ran it under a name of its own: others may have asked for the same.
    let named = execute(code).header("idempotency-key", "shared");
    let mut leaving =
        [server.connect().follow(&events(&id)), server.connect().follow(&named), server.connect().follow(&events(&id))];
    let ids =
        leaving.each_mut().map(|client| client.until("stdout")[0].data["executionId"].as_str().unwrap().to_owned());
    let [first, second, third] = leaving;
    drop((first, second));
    third.into_connection().finish_sending();
    for id in ids {
        let result = executions::result(&server, &id);
        assert_eq!((&result["status"], &result["stdout"]), (&"Completed".into(), &"here\ndone\n".into()));
    }
    server.assert_next_works();
}

#[test]
fn who_leaves_at_any_moment_leaves_nothing() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "40")]);
    disconnect::leave_at_any_moment(&server, &execute("import time; time.sleep(100)"));
    for status in ["Pending", "Running"] {
        let listed = server.ask(&Request::get(&format!("/api/python/executions?status={status}"))).ok();
        assert_eq!(listed["executions"], json!([]));
    }
    server.assert_next_works();
}

#[test]
fn a_silent_stream_is_kept_alive() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "1")]);
    // One that waits has nothing to tell.
    let running = executions::start(&server, "import time; time.sleep(100)");
    executions::wait_for(&server, &running, "Running");
    let waiting = executions::start(&server, "print(1)");
    let mut following = server.connect().follow(&events(&waiting));
    assert_eq!(following.next().unwrap().name, "queued");
    let since = Instant::now();
    following.wait_for_comment();
    let took = since.elapsed();
    assert!((Duration::from_secs(14)..site::patience(Duration::from_secs(20))).contains(&took), "{took:?}");
    server.ask(&Request::new("DELETE", &path_of(&running))).ok();
    assert_eq!(following.rest().pop().unwrap().data["status"], "Completed");
    server.assert_next_works();
}

/// Memory of the server's own process, in bytes.
pub(super) fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// What a flood has, at the least.
const BYTES: u64 = 20 << 20;

#[test]
fn a_slow_reader_slows_nobody_and_takes_no_memory() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    executions::result(&server, &executions::start(&server, "print('x' * (2 << 20))"));
    let before = memory(&server);
    let code = "import time\nprint('begin', flush=True)\ntime.sleep(1)\nbegin = time.monotonic()\n\
                for number in range(20 << 10): print(f'{number:01023}')\nprint(time.monotonic() - begin)";
    let id = executions::start(&server, code);
    // They read the beginning, and then nothing until it is over.
    let mut slow: Vec<_> = (0..20).map(|_| server.connect().follow(&events(&id))).collect();
    let known: Vec<Vec<Event>> = slow.iter_mut().map(|reader| reader.until("stdout")).collect();
    let result = executions::result(&server, &id);
    assert_eq!((&result["status"], &result["truncated"]["stdout"]), (&"Completed".into(), &true.into()), "{result}");
    let took: f64 = result["stdout"].as_str().unwrap().lines().last().unwrap().parse().unwrap();
    assert!(took < f64::from(20 * site::slowness()), "{took} s");
    let growth = memory(&server).saturating_sub(before);
    assert!(growth < 24 << 20, "{growth} bytes for {} readers", slow.len());

    for (reader, known) in slow.into_iter().zip(known) {
        let all: Vec<Event> = known.into_iter().chain(reader.rest()).collect();
        let (mut last, mut missing, mut offset) = (0, 0, 0);
        for event in &all {
            if event.name == "lost" {
                let events = event.data["events"].as_u64().unwrap();
                missing += events;
                assert_eq!(event.id, last + events, "{event:?}");
            } else {
                assert_eq!(event.id, last + 1, "{event:?}");
            }
            last = event.id;
            if event.name == "stdout" {
                let from = event.data["offset"].as_u64().unwrap();
                assert!(from >= offset, "{event:?}");
                offset = from + event.data["text"].as_str().unwrap().len() as u64;
            }
        }
        assert!(missing > 0, "it is told that something is missing");
        assert!(offset > BYTES, "the end is there: {offset}");
        assert_eq!(all.last().unwrap().data["executionId"], id, "and the result");
    }
    server.assert_next_works();
}

#[test]
fn a_body_that_is_no_program_starts_no_stream() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    for body in ["{", "{}", "[]", "null"] {
        let answer = server.ask(&Request::post("/api/python/execute", body).header("accept", "text/event-stream"));
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    let listed: Value = server.ask(&Request::get("/api/python/executions")).ok();
    assert_eq!(listed["executions"], json!([]));
    server.assert_next_works();
}
