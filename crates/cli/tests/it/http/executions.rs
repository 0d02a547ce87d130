//! Executions that are started, asked for, listed and cancelled.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    client::{Ask, Request},
    server::Server,
};
use crate::{host, require, site};

const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Daemons that have left the program's session.
const STUBBORN: &str = r"
import os, signal, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
time.sleep(60)
";

/// Starts a program; its id.
pub(super) fn start(server: &impl Ask, code: &str) -> String {
    let answer = server.ask(&Request::start(&json!({ "code": code, "timeout": 120 })));
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["executionId"].as_str().unwrap().to_owned()
}

pub(super) fn path_of(id: &str) -> String {
    format!("/api/python/executions/{id}")
}

pub(super) fn state(server: &impl Ask, id: &str) -> Value {
    server.ask(&Request::get(&path_of(id))).ok()
}

/// Waits for an execution to have this status.
pub(super) fn wait_for(server: &impl Ask, id: &str, status: &str) -> Value {
    host::eventually(status, || Some(state(server, id)).filter(|state| state["status"] == status))
}

/// The result of one that ends soon.
pub(super) fn result(server: &impl Ask, id: &str) -> Value {
    server.ask(&Request::get(&format!("{}/result?wait=30", path_of(id)))).ok()
}

fn logs(server: &Server, id: &str, query: &str) -> Value {
    server.ask(&Request::get(&format!("{}/logs{query}", path_of(id)))).ok()
}

fn cancel(server: &Server, id: &str) -> Value {
    server.ask(&Request::new("DELETE", &path_of(id))).ok()
}

#[test]
fn a_program_is_started_and_asked_for() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let code = "import time\nheld = bytearray(40 << 20)\nprint('so far', flush=True)\nend = time.monotonic() + 4\n\
                while time.monotonic() < end: pass\nprint('done')";
    let asked = Instant::now();
    let answer = server.ask(&Request::start(&json!({ "code": code })));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json()["executionId"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), Some(path_of(&id).as_str()));
    assert!(asked.elapsed() < site::patience(Duration::from_secs(3)), "it does not wait for the end");

    let running = wait_for(&server, &id, "Running");
    assert_eq!((&running["isCompleted"], &running["reason"]), (&false.into(), &Value::Null), "{running}");
    assert!(running["startedAt"].is_string() && running["queuePosition"].is_null(), "{running}");
    // What it uses is told while it runs.
    let used = host::eventually("usage", || Some(state(&server, &id)).filter(|state| state["usage"].is_object()));
    let usage = &used["usage"];
    assert!(usage["cpuTimeMs"].as_f64().unwrap() > 100.0, "{used}");
    assert!(usage["wallTimeMs"].as_f64().unwrap() >= 900.0, "{used}");
    assert_eq!(usage["outputBytes"], 7, "{used}");
    assert!(usage["memoryBytes"].is_null() || usage["memoryBytes"].as_u64() > Some(40 << 20), "{used}");
    assert!(used["elapsedMs"].as_f64() >= running["elapsedMs"].as_f64());

    let path = format!("{}/result", path_of(&id));
    let early = server.ask(&Request::get(&path));
    assert_eq!((early.status, &early.json()["status"]), (202, &"Running".into()));
    let waited = Instant::now();
    let still = server.ask(&Request::get(&format!("{path}?wait=0.2")));
    assert_eq!(still.status, 202);
    assert!(waited.elapsed() >= Duration::from_millis(200));
    let result = server.ask(&Request::get(&format!("{path}?wait=30"))).ok();
    assert_eq!((&result["executionId"], &result["status"]), (&id.clone().into(), &"Completed".into()));
    assert_eq!(result["stdout"], "so far\ndone\n");
    assert_eq!(server.ask(&Request::get(&path)).ok(), result, "it stays the same");

    let ended = state(&server, &id);
    assert_eq!(
        (&ended["status"], &ended["isCompleted"], &ended["reason"], &ended["usage"]),
        (&"Completed".into(), &true.into(), &"Exited".into(), &Value::Null)
    );
    assert_eq!((&ended["finishedAt"], &ended["startedAt"]), (&result["finishedAt"], &result["startedAt"]));
    for wait in ["-1", "61", "x", "NaN", "inf"] {
        server.ask(&Request::get(&format!("{path}?wait={wait}"))).problem(400, "InvalidRequest");
    }
    server.assert_next_works();
}

#[test]
fn every_end_is_a_result() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    for (code, status, reason) in [
        ("print(1)", "Completed", "Exited"),
        ("raise ValueError(1)", "Failed", "Exception"),
        ("raise SystemExit(3)", "Failed", "Exited"),
        ("x = (", "Failed", "Exception"),
        ("import os; os.kill(os.getpid(), 11)", "Failed", "Signal"),
    ] {
        let id = start(&server, code);
        let result = result(&server, &id);
        assert_eq!((&result["status"], &result["termination"]["reason"]), (&status.into(), &reason.into()), "{code}");
        let state = state(&server, &id);
        assert_eq!((&state["status"], &state["reason"]), (&status.into(), &reason.into()), "{code}");
    }
    // What can be seen without running it is refused at once.
    server.ask(&Request::start(&json!({ "code": "import ctypes" }))).problem(422, "CodeRejected");
    server.ask(&Request::start(&json!({ "code": "1", "timeout": -1 }))).problem(400, "InvalidRequest");
    server.assert_next_works();
}

#[test]
fn a_result_is_there_as_soon_as_the_state_says_so() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let mut connection = server.connect();
    for _ in 0..30 {
        let id = start(&server, "print(1)");
        while connection.ask(&Request::get(&path_of(&id))).ok()["isCompleted"] != true {}
        assert_eq!(connection.ask(&Request::get(&format!("{}/result", path_of(&id)))).ok()["stdout"], "1\n");
    }
    server.assert_next_works();
}

#[test]
fn there_is_nothing_of_what_is_unknown() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let known = start(&server, "print(1)");
    result(&server, &known);
    for id in [UNKNOWN, "0", "..", "%2e%2e", "execution"] {
        for (method, end) in [
            ("GET", ""),
            ("GET", "/result"),
            ("GET", "/logs"),
            ("GET", "/events"),
            ("GET", "/files/a"),
            ("DELETE", ""),
            ("POST", "/cancel"),
        ] {
            server.ask(&Request::new(method, &format!("{}{end}", path_of(id)))).problem(404, "NotFound");
        }
    }
    for file in ["a", "a/b", "../main.py", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "%00"] {
        server.ask(&Request::get(&format!("{}/files/{file}", path_of(&known)))).problem(404, "NotFound");
    }
    server.ask(&Request::get(&format!("{}/files/%ff", path_of(&known)))).problem(400, "InvalidRequest");
    assert_eq!(state(&server, &known)["status"], "Completed");
    server.assert_next_works();
}

#[test]
fn logs_are_read_in_parts_while_it_runs_and_afterwards() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    // Characters of two, three and four bytes, one of them in two writes.
    let code = "import sys, time\nprint('aé中𝄞', flush=True)\nprint('bad', file=sys.stderr, flush=True)\n\
                sys.stdout.buffer.write(b'\\xe4\\xb8'); sys.stdout.buffer.flush(); time.sleep(1.5)\n\
                sys.stdout.buffer.write(b'\\xad\\n'); sys.stdout.buffer.flush(); time.sleep(60)";
    let id = start(&server, code);
    let whole = "aé中𝄞\n中\n";
    let mut seen = BTreeSet::new();
    let so_far = host::eventually("all it wrote", || {
        let part = logs(&server, &id, "");
        let text = part["text"].as_str().unwrap().to_owned();
        assert!(whole.starts_with(&text), "no half of a character: {part}");
        assert_eq!(part["nextOffset"], text.len());
        seen.insert(text.clone());
        (text == whole).then_some(part)
    });
    assert!(seen.contains("aé中𝄞\n"), "{seen:?}");
    assert_eq!(
        (&so_far["isCompleted"], &so_far["stream"], &so_far["offset"]),
        (&false.into(), &"stdout".into(), &0.into())
    );

    let check = |is_completed: bool| {
        let is_completed = Value::from(is_completed);
        for (query, offset, text) in [
            ("?stream=stdout", 0, whole),
            ("?stream=stderr", 0, "bad\n"),
            ("?offset=1", 1, &whole[1..]),
            // Within a character: from the next one on.
            ("?offset=2", 3, &whole[3..]),
            ("?offset=7", 10, &whole[10..]),
            ("?offset=15", 15, ""),
            ("?offset=99", 15, ""),
            ("?tail=4", 11, "中\n"),
            ("?tail=3", 14, "\n"),
            ("?tail=0", 15, ""),
            ("?tail=99", 0, whole),
            ("?stream=stderr&tail=2", 2, "d\n"),
        ] {
            let part = logs(&server, &id, query);
            assert_eq!(
                (&part["offset"], &part["text"], &part["isCompleted"]),
                (&offset.into(), &text.into(), &is_completed),
                "{query}: {part}"
            );
            assert_eq!(part["nextOffset"], offset + text.len());
        }
    };
    check(false);
    assert_eq!(cancel(&server, &id)["outcome"], "cancelled");
    check(true);
    for query in ["?stream=stdin", "?offset=-1", "?offset=x", "?offset=1&tail=1", "?from=1", "?offset=1&offset=2"] {
        server.ask(&Request::get(&format!("{}/logs{query}", path_of(&id)))).problem(400, "InvalidRequest");
    }
    server.assert_next_works();
}

#[test]
fn logs_beyond_what_is_kept_are_the_end_of_it() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let id = start(&server, "for number in range(1 << 20): print(f'{number:09}')");
    let result = result(&server, &id);
    assert_eq!((&result["status"], &result["truncated"]["stdout"]), (&"Completed".into(), &true.into()));
    let part = logs(&server, &id, "");
    let (offset, text) = (part["offset"].as_u64().unwrap(), part["text"].as_str().unwrap());
    assert_eq!(offset + text.len() as u64, 10 << 20);
    assert!(text.len() >= 1 << 20 && offset > 0, "{offset}");
    for (place, line) in text.lines().enumerate().skip(1).step_by(1000) {
        assert_eq!(
            line.parse::<u64>().unwrap(),
            offset.div_ceil(10) + place as u64 - u64::from(offset % 10 != 0),
            "{offset}"
        );
    }
    assert!(text.ends_with("001048575\n"));
    assert_eq!(logs(&server, &id, "?tail=10")["text"], "001048575\n");
    server.assert_next_works();
}

#[test]
fn executions_are_listed_in_pages() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "2")]);
    let mut ids: Vec<String> =
        (0..7).map(|number| start(&server, &format!("raise SystemExit({})", number % 2))).collect();
    for id in &ids {
        result(&server, id);
    }
    ids.push(start(&server, "import time; time.sleep(60)"));
    wait_for(&server, &ids[7], "Running");
    ids.reverse();
    let list = |query: &str| server.ask(&Request::get(&format!("/api/python/executions{query}"))).ok();
    let ids_of = |page: &Value| -> Vec<String> {
        let all = page["executions"].as_array().unwrap();
        all.iter().map(|one| one["executionId"].as_str().unwrap().to_owned()).collect()
    };
    let all = list("");
    assert_eq!(ids_of(&all), ids, "the newest first, and nothing of the server's own");
    assert!(all["nextCursor"].is_null(), "{all}");
    for limit in [1, 3, 4, 8] {
        let (mut paged, mut query, mut rounds) = (Vec::new(), format!("?limit={limit}"), 0);
        loop {
            let page = list(&query);
            let found = ids_of(&page);
            assert!(found.len() <= limit, "{page}");
            paged.extend(found);
            rounds += 1;
            assert!(rounds < 20, "it comes to an end");
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            query = format!("?limit={limit}&cursor={cursor}");
            if rounds == 1 {
                // What comes meanwhile is not on a later page.
                result(&server, &start(&server, "print('meanwhile')"));
            }
        }
        let wanted: Vec<String> = paged.iter().filter(|id| ids.contains(id)).cloned().collect();
        assert_eq!(wanted, ids, "limit {limit}");
        let all: BTreeSet<&String> = paged.iter().collect();
        assert_eq!(all.len(), paged.len(), "none twice");
    }
    for (status, place) in [("Running", 1), ("Failed", 3)] {
        let page = list(&format!("?status={status}"));
        assert_eq!(ids_of(&page).len(), place, "{page}");
        assert!(page["executions"].as_array().unwrap().iter().all(|one| one["status"] == status), "{page}");
    }
    assert_eq!(ids_of(&list("?status=Running&limit=1")), ids[..1]);
    assert_eq!(ids_of(&list("?status=Pending")), [""; 0]);
    for query in ["?limit=0", "?limit=201", "?limit=x", "?status=running", "?cursor=x", "?cursor=", "?offset=1"] {
        server.ask(&Request::get(&format!("/api/python/executions{query}"))).problem(400, "InvalidRequest");
    }
    cancel(&server, &ids[0]);
    server.assert_next_works();
}

#[test]
fn one_key_does_not_see_what_is_anothers() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("ApiKeys__0", "first-key-of-this-test"), ("ApiKeys__1", "second-key-of-this-test")]);
    let (mine, other) = ("first-key-of-this-test", "second-key-of-this-test");
    let of = |request: Request, key: &str| server.ask(&request.header("x-api-key", key));
    let body = json!({ "code": "import time; print('secret', flush=True); time.sleep(60)", "timeout": 90 });
    let named = Request::start(&body).header("idempotency-key", "same");
    let id = of(named.clone(), mine).json()["executionId"].as_str().unwrap().to_owned();
    for is_running in [true, false] {
        for (method, end) in
            [("GET", ""), ("GET", "/result"), ("GET", "/logs"), ("GET", "/events"), ("DELETE", ""), ("POST", "/cancel")]
        {
            of(Request::new(method, &format!("{}{end}", path_of(&id))), other).problem(404, "NotFound");
        }
        assert_eq!(of(Request::get("/api/python/executions"), other).ok()["executions"], json!([]));
        let listed = of(Request::get("/api/python/executions"), mine).ok();
        assert_eq!(listed["executions"].as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(listed["executions"][0]["isCompleted"], !is_running, "{listed}");
        of(Request::new("DELETE", &path_of(&id)), mine).ok();
    }
    // The same name of somebody else is another one.
    let others = of(named, other).json()["executionId"].as_str().unwrap().to_owned();
    assert_ne!(others, id);
    assert_eq!(of(Request::new("DELETE", &path_of(&others)), other).ok()["outcome"], "cancelled");
    let next = of(Request::execute(&json!({ "code": "print('next')" })), mine).ok();
    assert_eq!(next["stdout"], "next\n");
}

#[test]
fn a_cancelled_execution_leaves_nothing() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "1")]);
    let idle = server.sandboxes();
    for how in ["DELETE", "POST"] {
        let id = start(&server, STUBBORN);
        host::eventually("three processes", || (server.programs().len() == 3).then_some(()));
        let queued = start(&server, "print('never')");
        assert_eq!(state(&server, &queued)["queuePosition"], 1);
        let request = |id: &str| match how {
            "POST" => Request::new("POST", &format!("{}/cancel", path_of(id))),
            _ => Request::new("DELETE", &path_of(id)),
        };
        let asked = Instant::now();
        assert_eq!(
            server.ask(&request(&queued)).ok(),
            json!({ "executionId": queued, "outcome": "cancelled", "status": "Cancelled" })
        );
        assert_eq!(server.programs().len(), 3, "the other one goes on");
        assert_eq!(
            server.ask(&request(&id)).ok(),
            json!({ "executionId": id, "outcome": "cancelled", "status": "Cancelled" })
        );
        assert!(asked.elapsed() < site::patience(Duration::from_secs(4)), "{:?}", asked.elapsed());
        server.assert_nothing_runs(&idle);
        for (id, started) in [(&id, true), (&queued, false)] {
            let result = result(&server, id);
            assert_eq!(
                (&result["status"], &result["termination"]["reason"]),
                (&"Cancelled".into(), &"Cancelled".into()),
                "{result}"
            );
            assert_eq!(result["startedAt"].is_string(), started, "{result}");
            // Once more.
            let again = server.ask(&request(id)).ok();
            assert_eq!((&again["outcome"], &again["status"]), (&"alreadyCompleted".into(), &"Cancelled".into()));
        }
        let ended = start(&server, "print(1)");
        result(&server, &ended);
        let late = server.ask(&request(&ended)).ok();
        assert_eq!((&late["outcome"], &late["status"]), (&"alreadyCompleted".into(), &"Completed".into()));
        server.ask(&request(UNKNOWN)).problem(404, "NotFound");
    }
    server.assert_next_works();
}

#[test]
fn many_may_cancel_the_same_at_once() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let id = start(&server, STUBBORN);
    wait_for(&server, &id, "Running");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let outcome = cancel(&server, &id);
                assert_eq!(outcome["status"], "Cancelled", "{outcome}");
            });
        }
    });
    server.assert_no_processes();
    server.assert_next_works();
}

/// Who waits for the answer is told, and what happened is in the record.
#[test]
fn what_somebody_waits_for_may_be_cancelled_by_another() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "1")]);
    let mut running = server.start_program("import time; time.sleep(60)");
    let mut queued = server.connect();
    queued.send(Request::execute(&json!({ "code": "print('never')" })).bytes());
    let listed = |status: &str| {
        host::eventually(status, || {
            let page = server.ask(&Request::get(&format!("/api/python/executions?status={status}"))).ok();
            page["executions"][0]["executionId"].as_str().map(str::to_owned)
        })
    };
    let (running_id, queued_id) = (listed("Running"), listed("Pending"));
    for (id, client) in [(&queued_id, &mut queued), (&running_id, &mut running)] {
        assert_eq!(cancel(&server, id)["outcome"], "cancelled");
        let result = client.answer("POST", "/api/python/execute").ok();
        assert_eq!((&result["executionId"], &result["status"]), (&id.clone().into(), &"Cancelled".into()), "{result}");
        assert_eq!(self::result(&server, id), result);
    }
    server.assert_next_works();
}
