//! Where the interpreter of a program comes from: what a request and an operator choose, and what is said of it.

use serde_json::{Value, json};

use super::{
    client::Request,
    server::{Server, command},
};
use crate::{host, place::Place, require};

/// How the interpreter of `print(1)` was started, for a request with this `isolation`.
fn start(server: &Server, isolation: &Value) -> Value {
    let result = server.execute(&json!({ "code": "print(1)", "isolation": isolation })).ok();
    assert_eq!((&result["status"], &result["stdout"]), (&"Completed".into(), &"1\n".into()), "{result}");
    result["start"].clone()
}

fn warm(server: &Server) -> Value {
    server.ask(&Request::get("/api/python/capabilities")).ok()["warm"].clone()
}

#[test]
fn a_request_may_ask_for_a_cold_start() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    for isolation in [json!({ "zygote": "off" }), json!({ "Zygote": "off" })] {
        assert_eq!(start(&server, &isolation), json!({ "path": "cold" }));
    }
    for isolation in [Value::Null, json!({}), json!({ "zygote": null }), json!({ "zygote": "on" })] {
        let start = start(&server, &isolation);
        let (path, has_profile) = (start["path"].as_str().unwrap(), start["profile"].is_string());
        assert!(["parked", "forked", "cold"].contains(&path), "{start}");
        assert_eq!(has_profile, path != "cold", "{start}");
    }
    assert_eq!(warm(&server)["zygote"], "on");
}

#[test]
fn where_an_operator_says_no_every_program_starts_cold() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    // The flag wins.
    let command = command(&place, &["--zygote", "off"], &[("Zygote", "on")]);
    let by_flag = Server::of(place, command);
    for server in [by_flag, Server::with(&[("Zygote", "off")])] {
        for isolation in [Value::Null, json!({ "zygote": "on" }), json!({ "zygote": "off" })] {
            assert_eq!(start(&server, &isolation), json!({ "path": "cold" }));
        }
        let warm = warm(&server);
        assert_eq!((&warm["zygote"], &warm["profiles"]), (&"off".into(), &json!([])), "{warm}");
        assert!(!server.log().contains("warmed up"), "{}", server.log());
    }
}

#[test]
fn a_server_warms_up_while_it_answers() {
    if !require::default_tier() {
        return;
    }
    let mut server = Server::start();
    // It is ready, and runs programs, whether it is warm or not.
    server.assert_next_works();
    host::eventually("warm interpreters", || server.log().contains(" warmed up ").then_some(()));
    let warm = warm(&server);
    let ready = warm["profiles"].as_array().unwrap().iter().filter(|profile| profile["ready"] == true).count();
    let log = server.stop();
    assert!(log.contains(&format!(" warmed up ready={ready} ")), "{warm}: {log}");
}
