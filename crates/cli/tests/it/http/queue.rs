//! Who waits for a turn, and for how long.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    client::{Connection, Request},
    executions::{self, path_of},
    server::Server,
};
use crate::{host, require, site};

const EXECUTE: &str = "/api/python/execute";

/// How many wait, as the list of executions has it.
fn pending(server: &Server) -> usize {
    let page = server.ask(&Request::get("/api/python/executions?status=Pending&limit=200")).ok();
    page["executions"].as_array().unwrap().len()
}

/// Sends a program, and waits until it waits.
fn send(server: &Server, code: &str) -> Connection {
    let before = pending(server);
    let mut client = server.connect();
    client.send(Request::execute(&json!({ "code": code, "timeout": 120 })).bytes());
    host::eventually("one more that waits", || (pending(server) == before + 1).then_some(()));
    client
}

#[test]
fn those_that_wait_have_their_turns_in_order() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "1"), ("MaxQueueLength", "6")]);
    let mut running = server.start_program("import time; time.sleep(3)");
    // One that is waited for, one that is not, and so on.
    let (mut waiting, mut started) = (Vec::new(), Vec::new());
    for number in 0..3 {
        waiting.push(send(&server, &format!("print({number})")));
        started.push(executions::start(&server, &format!("print({number})")));
        assert_eq!(executions::state(&server, &started[number])["queuePosition"], 2 * number + 2);
    }
    // One more than may wait.
    for request in [Request::execute(&json!({ "code": "1" })), Request::start(&json!({ "code": "1" }))] {
        let answer = server.ask(&request);
        answer.problem(429, "Busy");
        assert!((1..=60).contains(&answer.header("retry-after").unwrap().parse::<u64>().unwrap()), "{answer:?}");
    }
    assert_eq!(running.answer("POST", EXECUTE).ok()["status"], "Completed");
    let mut begun = Vec::new();
    for (number, (client, id)) in waiting.iter_mut().zip(&started).enumerate() {
        for result in [client.answer("POST", EXECUTE).ok(), executions::result(&server, id)] {
            assert_eq!(result["stdout"], format!("{number}\n"), "{result}");
            begun.push((result["startedAt"].clone(), result["finishedAt"].clone()));
        }
    }
    let at = |time: &Value| time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    for pair in begun.windows(2) {
        assert!(at(&pair[0].0) < at(&pair[1].0), "in the order in which they came: {begun:?}");
        assert!(at(&pair[0].1) <= at(&pair[1].0) + jiff::SignedDuration::from_millis(20), "one at a time: {begun:?}");
    }
    server.assert_next_works();
}

#[test]
fn a_turn_that_does_not_come_in_time_is_not_waited_for() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "1"), ("QueueTimeout", "1")]);
    let running = server.start_program("import time; time.sleep(100)");
    let asked = Instant::now();
    let mut waiting = send(&server, "print('never')");
    let id = executions::start(&server, "print('never')");
    let following = server.connect().follow(&Request::get(&format!("{}/events", path_of(&id))));
    let answer = waiting.answer("POST", EXECUTE);
    let problem = answer.problem(429, "Busy");
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1, "{answer:?}");
    assert!(problem["detail"].as_str().unwrap().contains("1 s"), "{problem}");
    let result = executions::result(&server, &id);
    let took = asked.elapsed();
    assert!((Duration::from_secs(1)..site::patience(Duration::from_secs(5))).contains(&took), "{took:?}");
    assert_eq!(
        (&result["status"], &result["termination"]["reason"], &result["startedAt"]),
        (&"Failed".into(), &"QueueTimeout".into(), &Value::Null),
        "{result}"
    );
    let events = following.rest();
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["queued", "result"]);
    assert_eq!(executions::state(&server, &id)["reason"], "QueueTimeout");
    assert_eq!(server.programs().len(), 1, "the one that runs is not disturbed");
    drop(running);
    server.assert_next_works();
}

#[test]
fn who_leaves_the_queue_gives_its_place_to_the_next() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "1"), ("MaxQueueLength", "2")]);
    let running = executions::start(&server, "import time; time.sleep(100)");
    executions::wait_for(&server, &running, "Running");
    let leaving = send(&server, "print('never')");
    let id = executions::start(&server, "print('stays')");
    assert_eq!(executions::state(&server, &id)["queuePosition"], 2);
    server.ask(&Request::start(&json!({ "code": "1" }))).problem(429, "Busy");
    drop(leaving);
    host::eventually("the next place", || (executions::state(&server, &id)["queuePosition"] == 1).then_some(()));
    let other = executions::start(&server, "print('has room now')");
    server.ask(&Request::new("DELETE", &path_of(&running))).ok();
    assert_eq!(executions::result(&server, &id)["stdout"], "stays\n");
    assert_eq!(executions::result(&server, &other)["stdout"], "has room now\n");
    server.assert_next_works();
}

#[test]
fn ten_times_as_many_as_may_come_are_answered() {
    if !require::default_tier() {
        return;
    }
    // Two run and four wait: those are all ended. The others are told at once.
    let server = Server::with(&[("MaxConcurrentExecutions", "2"), ("MaxQueueLength", "4")]);
    let code = format!("import time; time.sleep({}); print('done')", 3 * site::slowness());
    let together = std::sync::Barrier::new(60);
    let answers: Vec<(bool, Value, Option<u64>, Duration)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..60)
            .map(|number| {
                let (server, together, code) = (&server, &together, &code);
                scope.spawn(move || {
                    let body = json!({ "code": code, "timeout": 120 });
                    let is_started = number % 2 == 0;
                    let request = if is_started { Request::start(&body) } else { Request::execute(&body) };
                    let mut client = server.connect();
                    together.wait();
                    let asked = Instant::now();
                    let answer = client.ask(&request);
                    let (took, after) =
                        (asked.elapsed(), answer.header("retry-after").map(|text| text.parse().unwrap()));
                    match answer.status {
                        429 => (false, answer.problem(429, "Busy"), after, took),
                        202 => {
                            let id = answer.json()["executionId"].as_str().unwrap().to_owned();
                            (true, executions::result(server, &id), after, took)
                        }
                        _ => (true, answer.ok(), after, took),
                    }
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let admitted: Vec<_> = answers.iter().filter(|answer| answer.0).collect();
    // Between a turn and the place that it leaves there may be one more.
    assert!((6..=8).contains(&admitted.len()), "{} were admitted", admitted.len());
    for (is_admitted, answer, after, took) in &answers {
        if *is_admitted {
            assert_eq!((&answer["status"], &answer["stdout"]), (&"Completed".into(), &"done\n".into()), "{answer}");
        } else {
            assert!((Some(1)..=Some(60)).contains(after), "{after:?}");
            assert!(*took < site::patience(Duration::from_millis(2500)), "{took:?}");
        }
    }
    server.assert_next_works();
}

#[test]
fn a_server_that_stops_lets_go_of_what_waits() {
    if !require::default_tier() {
        return;
    }
    let mut server = Server::with(&[("MaxConcurrentExecutions", "1"), ("ShutdownGrace", "30")]);
    let running = executions::start(&server, "import time; print('so far', flush=True); time.sleep(3); print('done')");
    executions::wait_for(&server, &running, "Running");
    let queued = executions::start(&server, "print('never')");
    let mut waiting = send(&server, "print('never')");
    // Two that wait for the same: one under a name, and one that asks for its result.
    let body = json!({ "code": "print('named')" });
    server.ask(&Request::start(&body).header("idempotency-key", "named"));
    let mut same = server.connect();
    same.send(Request::execute(&body).header("idempotency-key", "named").bytes());
    let mut patient = server.connect();
    let result_path = format!("{}/result?wait=60", path_of(&queued));
    patient.send(Request::get(&result_path).bytes());
    let events = |id: &str| Request::get(&format!("{}/events", path_of(id)));
    let mut of_running = server.connect().follow(&events(&running));
    let mut seen = of_running.until("stdout");
    let mut of_queued = server.connect().follow(&events(&queued));
    assert_eq!(of_queued.next().unwrap().name, "queued");
    let (mut health, mut late) = (server.connect(), server.connect());
    health.send(&Request::get("/readyz").bytes()[..10]);
    late.send(&Request::start(&body).bytes()[..10]);
    std::thread::sleep(Duration::from_millis(300));

    let told = Instant::now();
    server.signal(Signal::TERM);
    host::eventually("a closed door", || Connection::try_open(server.address).is_err().then_some(()));
    health.send(&Request::get("/readyz").bytes()[10..]);
    assert_eq!(health.answer("GET", "/readyz").status, 503);
    late.send(&Request::start(&body).bytes()[10..]);
    late.answer("POST", "/api/python/executions").problem(503, "Stopping");
    for client in [&mut waiting, &mut same] {
        let answer = client.answer("POST", EXECUTE);
        answer.problem(503, "Stopping");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    let answer = patient.answer("GET", &result_path);
    assert_eq!((answer.status, &answer.json()["status"]), (202, &"Pending".into()));
    assert!(of_queued.rest().is_empty(), "it ends, without a result");
    assert!(told.elapsed() < site::patience(Duration::from_millis(2900)), "before the end: {:?}", told.elapsed());
    seen.extend(of_running.rest());
    let last = seen.pop().unwrap();
    assert_eq!((last.name.as_str(), &last.data["stdout"]), ("result", &"so far\ndone\n".into()));
    let outcome = server.finish();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(!outcome.stderr.contains("did not take"), "{outcome:?}");
    assert!(told.elapsed() < site::patience(Duration::from_secs(10)), "{:?}", told.elapsed());
    server.place.assert_next_works();
}

#[test]
fn what_was_started_is_interrupted_when_the_grace_is_over() {
    if !require::default_tier() {
        return;
    }
    let mut server = Server::with(&[("ShutdownGrace", "1")]);
    let code = "import os, time\nif os.fork() == 0: os.setsid()\nprint('here', flush=True)\ntime.sleep(100)";
    let id = executions::start(&server, code);
    let mut following = server.connect().follow(&Request::get(&format!("{}/events", path_of(&id))));
    following.until("stdout");
    let recorded = host::descendants(server.pid());
    let told = Instant::now();
    server.signal(Signal::TERM);
    let last = following.rest().pop().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["termination"]["reason"]),
        ("result", &"Interrupted".into()),
        "{last:?}"
    );
    let outcome = server.finish();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let took = told.elapsed();
    assert!((Duration::from_millis(900)..site::patience(Duration::from_secs(6))).contains(&took), "{took:?}");
    server.place.assert_nothing_left(&[server.pid()], &recorded);
    server.place.assert_next_works();
}
