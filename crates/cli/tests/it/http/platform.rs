//! The platform's own paths: the same, with a language.

use serde_json::{Value, json};

use super::{client::Request, server::Server};
use crate::{host, require};

#[test]
fn the_platforms_paths_do_the_same() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let post = |path: &str, body: &Value| server.ask(&Request::post(path, body.to_string()));
    for language in [json!("python"), json!("Python"), Value::Null] {
        let body = json!({ "code": "print(1)", "language": language });
        assert_eq!(post("/api/sandbox/execute", &body).ok()["stdout"], "1\n");
        assert_eq!(post("/api/python/execute", &body).ok()["stdout"], "1\n");
    }
    for path in ["execute", "execute-async"] {
        for language in ["javascript", "", "python3", "py\u{1}"] {
            let body = json!({ "code": "print(1)", "language": language });
            let problem = post(&format!("/api/sandbox/{path}"), &body).problem(400, "InvalidRequest");
            assert_eq!(problem["field"], "language", "{problem}");
        }
    }

    let body = json!({ "code": "import time; print('so far', flush=True); time.sleep(60)", "language": "python" });
    let started = post("/api/sandbox/execute-async", &body);
    assert_eq!(started.status, 202);
    let id = started.json()["executionId"].as_str().unwrap().to_owned();
    let get = |what: &str| server.ask(&Request::get(&format!("/api/sandbox/{what}/{id}"))).ok();
    host::eventually("output", || (get("logs")["text"] == "so far\n").then_some(()));
    assert_eq!(get("status")["status"], "Running");
    let cancelled = server.ask(&Request::new("POST", &format!("/api/sandbox/cancel/{id}"))).ok();
    assert_eq!((&cancelled["executionId"], &cancelled["outcome"]), (&id.clone().into(), &"cancelled".into()));
    let state = get("status");
    assert_eq!(state["status"], "Cancelled");
    let logs = server.ask(&Request::get(&format!("/api/sandbox/logs/{id}?tail=4"))).ok();
    assert_eq!((&logs["text"], &logs["isCompleted"]), (&"far\n".into(), &true.into()));
    // They are the same executions.
    assert_eq!(server.ask(&Request::get(&format!("/api/python/executions/{id}"))).ok(), state);
    server.assert_next_works();
}
