//! `GET /metrics`, as a Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{client::Request, server::Server};
use crate::{host, require};

/// Samples by name and labels, as they are written.
struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// Reads the whole of a server's metrics; what is no text of Prometheus fails.
    fn of(server: &Server) -> Self {
        let answer = server.ask(&Request::get("/metrics"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
        let text = answer.text();
        assert!(text.ends_with('\n'));
        let mut described = BTreeSet::new();
        let mut samples = BTreeMap::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (kind, name) = (words.next().unwrap(), words.next().unwrap());
                assert!(["HELP", "TYPE"].contains(&kind) && words.next().is_some(), "{line}");
                described.insert(name.to_owned());
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no value: {line}"));
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
            assert!(labels.ends_with('}'), "{line}");
            let base = ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part));
            assert!(described.contains(name) || base.is_some_and(|base| described.contains(base)), "{line}");
            assert!(value >= 0.0, "{line}");
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
        Self(samples)
    }

    /// The sum of all with this name and these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("aevatar_sandbox_{name}");
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let fits = |series: &str| {
            series.split('{').next() == Some(name.as_str())
                && labels.iter().all(|label| series.contains(label.as_str()))
        };
        self.0.iter().filter(|(series, _)| fits(series)).map(|(_, value)| value).sum()
    }

    fn is(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let sum = self.sum(name, labels);
        assert!((sum - value).abs() < 1e-9, "{name} {labels:?} is {sum}, not {value}: {:#?}", self.0);
    }
}

#[test]
fn metrics_move_as_executions_happen() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "1"), ("MaxQueueLength", "0")]);
    let before = Samples::of(&server);
    before.is("executions_total", &[], 0.0);
    before.is("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    before.is("capacity", &[], 1.0);
    before.is("running", &[], 0.0);

    let well = server.run("print('x' * 999)");
    let memory = json!({ "code": "b = bytearray(10**9)", "resources": { "memoryLimit": "64Mi" } });
    let memory = server.execute(&memory).ok();
    assert_eq!(memory["termination"]["reason"], "OutOfMemory");
    let time = server.execute(&json!({ "code": "while True: pass", "timeout": 0.5 })).ok();
    assert_eq!(time["status"], "TimedOut");
    // What the three used, by their own results: how much that is depends on who else is on this host.
    let used = |what: &str| [&well, &memory, &time].map(|one| one["usage"][what].as_f64().unwrap()).iter().sum::<f64>();
    // The last one's place may be free a moment after its answer.
    let async_start = Request::post("/api/python/executions", json!({ "code": "1/0" }).to_string());
    host::eventually("a place", || (server.ask(&async_start).status == 202).then_some(()));
    let counted = |reason: &str| Samples::of(&server).sum("executions_total", &[("reason", reason)]);
    host::eventually("the count of one that nobody waits for", || (counted("Exception") > 0.0).then_some(()));

    let after = Samples::of(&server);
    for (status, reason) in
        [("Completed", "Exited"), ("Failed", "OutOfMemory"), ("TimedOut", "WallTimeLimit"), ("Failed", "Exception")]
    {
        after.is("executions_total", &[("status", status), ("reason", reason)], 1.0);
    }
    after.is("executions_total", &[], 4.0);
    after.is("executions_total", &[("start", "none")], 0.0);
    for name in ["startup_seconds", "execution_duration_seconds", "queue_wait_seconds"] {
        after.is(&format!("{name}_count"), &[], 4.0);
    }
    after.is("execution_duration_seconds_bucket", &[("le", "+Inf")], 4.0);
    for (name, least) in [
        ("execution_duration_seconds_sum", used("wallTimeMs") / 1000.0),
        ("cpu_seconds_total", used("cpuTimeMs") / 1000.0),
        ("startup_seconds_sum", used("startupMs") / 1000.0),
        ("output_bytes_total", used("outputBytes")),
    ] {
        let counted = after.sum(name, &[]);
        // Results are in whole microseconds.
        assert!(least > 0.0 && counted > least - 1e-4, "{name} is {counted}, and three of four used {least}");
    }
    assert!(after.sum("oom_kills_total", &[]) >= 1.0);
    assert!(after.sum("peak_memory_bytes_sum", &[]) > 1e6 || after.sum("peak_memory_bytes_count", &[]) < 1.0);
    after.is("http_requests_total", &[("route", "/api/python/execute"), ("method", "POST"), ("status", "200")], 3.0);
    after.is("http_request_duration_seconds_count", &[("route", "/api/python/execute")], 3.0);

    let running = server.start_program("import time; time.sleep(60)");
    server.execute(&json!({ "code": "1" })).problem(429, "Busy");
    let full = Samples::of(&server);
    full.is("running", &[], 1.0);
    full.is("queue_depth", &[], 0.0);
    assert!(full.sum("rejected_total", &[("code", "Busy")]) >= 1.0);
    drop(running);
    let gone = [("route", "/api/python/execute"), ("status", "499")];
    host::eventually("the end of one whose client went away", || {
        let now = Samples::of(&server);
        let ended = now.sum("executions_total", &[("status", "Cancelled")]) + now.sum("http_requests_total", &gone);
        (ended > 0.0 && now.sum("running", &[]) < 1.0).then_some(())
    });
}

#[test]
fn whatever_clients_send_makes_no_series() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let ask_odd_things = |from: u32| {
        for number in from..from + 50 {
            server.ask(&Request::get(&format!("/odd/{number}?x=%22%0a"))).problem(404, "NotFound");
            let id = format!("/api/python/executions/01890000-0000-7000-8000-0000000{number:05}");
            assert_eq!(server.ask(&Request::get(&id)).status, 404);
        }
        for method in ["BREW", "FROB", "PUT"] {
            assert_eq!(server.ask(&Request::new(method, "/api/python/execute")).status, 405);
        }
    };
    ask_odd_things(0);
    let names = |samples: Samples| samples.0.into_keys().filter(|name| name.contains("http")).collect::<BTreeSet<_>>();
    let first = names(Samples::of(&server));
    ask_odd_things(1000);
    let second = Samples::of(&server);
    second.is("http_requests_total", &[("route", "none"), ("status", "404")], 100.0);
    second.is("http_requests_total", &[("route", "/api/python/executions/{id}"), ("status", "404")], 100.0);
    second.is("http_requests_total", &[("method", "other")], 4.0);
    let second = names(second);
    let more: Vec<_> = second.difference(&first).filter(|name| !name.contains("/metrics")).collect();
    assert!(more.is_empty(), "{more:#?}");
    assert!(!second.iter().any(|name| name.contains("odd") || name.contains("0189")));
}

#[test]
fn metrics_are_behind_the_door() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("ApiKeys__0", "a-key-of-this-test-only")]);
    server.ask(&Request::get("/metrics")).problem(401, "Unauthenticated");
    let with_key = Request::get("/metrics").header("authorization", "Bearer a-key-of-this-test-only");
    let text = server.ask(&with_key).text();
    assert!(text.contains("aevatar_sandbox_rejected_total{code=\"Unauthenticated\"} 1\n"), "{text}");
    assert!(!text.contains("a-key-of"), "{text}");
}
