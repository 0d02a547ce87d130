//! What runs no program of a client: health, capabilities, validation, the document.

use serde_json::{Value, json};

use super::{
    client::Request,
    contract,
    server::{Server, command},
};
use crate::{host, place::Place, require};

#[test]
fn a_server_says_how_it_is() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    assert_eq!(server.ask(&Request::get("/healthz")).ok(), json!({ "status": "alive" }));
    assert_eq!(server.ask(&Request::get("/readyz")).ok(), json!({ "status": "ready" }));
    let document = server.ask(&Request::get("/openapi.json")).ok();
    assert_eq!(document, serde_json::from_str::<Value>(contract::TEXT).unwrap(), "run `cargo xtask openapi`");
}

#[test]
fn a_server_without_python_is_alive_and_not_ready() {
    let place = Place::new();
    let command = command(&place, &["--python", "/no/such/python"], &[]);
    let mut server = Server::of(place, command);
    assert_eq!(server.ask(&Request::get("/healthz")).ok(), json!({ "status": "alive" }));
    let health = host::eventually("the failure", || {
        let answer = server.ask(&Request::get("/readyz"));
        assert_eq!(answer.status, 503);
        let health = answer.json();
        (health["status"] != "starting").then_some(health)
    });
    assert_eq!(health["status"], "failing", "{health}");
    assert!(health["detail"].as_str().unwrap().contains("/no/such/python"), "{health}");
    assert!(health["hint"].as_str().is_some(), "{health}");
    for request in [
        Request::execute(&json!({ "code": "print(1)" })),
        Request::post("/api/python/validate", "{\"code\": \"print(1)\"}"),
        Request::get("/api/python/capabilities"),
    ] {
        let problem = server.ask(&request).problem(503, "EnvironmentUnavailable");
        assert!(problem["detail"].as_str().unwrap().contains("/no/such/python"), "{problem}");
    }
    let log = server.stop();
    assert!(log.contains("ERROR not ready: "), "{log}");
}

#[test]
fn capabilities_are_told_to_programs_and_to_models() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[
        ("MaxConcurrentExecutions", "3"),
        ("DefaultTimeout", "12"),
        ("MaxResources__MemoryLimit", "3Gi"),
        ("MaxCodeLength", "5000"),
    ]);
    let answer = server.ask(&Request::get("/api/python/capabilities"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let told = answer.ok();
    assert_eq!(
        (&told["python"]["implementation"], &told["python"]["environment"]),
        (&"CPython".into(), &"default".into())
    );
    let version = server.run("import platform; print(platform.python_version())");
    assert_eq!(version["stdout"], format!("{}\n", told["python"]["version"].as_str().unwrap()));
    let numpy = told["packages"].as_array().unwrap().iter().find(|package| package["name"] == "numpy").unwrap();
    let imported = server.run("import numpy; print(numpy.__version__)");
    assert_eq!(imported["stdout"], format!("{}\n", numpy["version"].as_str().unwrap()));
    assert_eq!((&told["modules"]["restricted"], &told["modules"]["standardLibrary"]), (&true.into(), &true.into()));
    assert!(told["modules"]["allowed"].as_array().unwrap().contains(&"sklearn".into()), "{told}");
    assert!(told["modules"]["blocked"].as_array().unwrap().contains(&"ctypes".into()), "{told}");
    let limits = &told["limits"];
    assert_eq!((&limits["default"]["timeoutMs"], &limits["maximum"]["timeoutMs"]), (&12_000.into(), &300_000.into()));
    assert_eq!(limits["maximum"]["memoryLimit"], "3Gi");
    assert_eq!((&limits["maxCodeLength"], &limits["maxRequestBytes"]), (&5000.into(), &(8 << 20).into()));
    assert_eq!(limits["maxConcurrentExecutions"], 3);
    assert_eq!(told["network"]["available"], false);
    assert_eq!(told["filesystem"], json!({ "writable": ["/work", "/tmp", "/dev/shm"], "persistent": false }));
    assert_eq!(told["isolation"]["tier"], "default");

    let prompt = told["prompt"].as_str().unwrap();
    for (path, accept) in [
        ("/api/python/capabilities?format=text", "*/*"),
        ("/api/python/capabilities?a=b&format=text", "application/json"),
        ("/api/python/capabilities", "text/plain"),
    ] {
        let answer = server.ask(&Request::get(path).header("accept", accept));
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!((answer.status, answer.text().as_str()), (200, prompt));
    }
    for words in ["numpy ", "12 s", "memory 3Gi", "no network", "/work", "ctypes"] {
        assert!(prompt.contains(words), "{words}: {prompt}");
    }
}

#[test]
fn a_program_is_read_and_not_run() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let validate = |code: &str| server.ask(&Request::post("/api/python/validate", json!({ "code": code }).to_string()));
    let report = validate("open('/work/ran', 'w')\nprint('ran')").ok();
    assert_eq!(report["isValid"], true, "{report}");
    assert_eq!((&report["syntaxError"], &report["violations"]), (&Value::Null, &json!([])), "{report}");
    assert_eq!(validate("").ok()["isValid"], true);
    let pascal = server.ask(&Request::post("/api/python/validate", "{\"Code\": \"1\", \"Environment\": null}"));
    assert_eq!(pascal.ok()["isValid"], true);
    for (body, field, hint) in [
        ("{\"code\": \"1\", \"timeout\": 1}", "timeout", "`code`, `environment`"),
        ("{\"code\": \"1\", \"enviroment\": \"x\"}", "enviroment", "did you mean `environment`?"),
    ] {
        let problem = server.ask(&Request::post("/api/python/validate", body)).problem(400, "InvalidRequest");
        assert_eq!(problem["field"], field);
        assert!(problem["hint"].as_str().unwrap().contains(hint), "{problem}");
    }
    server.ask(&Request::post("/api/python/validate", "{")).problem(400, "MalformedJson");
    server.ask(&Request::post("/api/python/validate", "{}")).problem(400, "InvalidRequest");
    for name in ["nope", "../nope", "", "default (CPython 3.11.2)"] {
        for path in ["/api/python/validate", "/api/python/execute"] {
            let absent = Request::post(path, json!({ "code": "1", "environment": name }).to_string());
            let problem = server.ask(&absent).problem(400, "InvalidRequest");
            assert_eq!(problem["field"], "environment", "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains(&format!("`{name}`")), "{problem}");
        }
    }
    // A zygote has the name of a program until it has started.
    server.wait_until_warm(&["bare"]);
    assert_eq!(server.programs(), []);
    server.assert_next_works();
}

/// Needs the validator.
#[test]
fn what_is_read_of_a_program_is_told() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let validate =
        |code: &str| server.ask(&Request::post("/api/python/validate", json!({ "code": code }).to_string())).ok();
    let good = validate("import numpy as np\nfrom sklearn.linear_model import Ridge\nimport numpy");
    assert_eq!(good["isValid"], true, "{good}");
    let modules: Vec<_> =
        good["imports"].as_array().unwrap().iter().map(|one| (&one["module"], &one["line"])).collect();
    assert_eq!(modules, [(&"numpy".into(), &1.into()), (&"sklearn.linear_model".into(), &2.into())], "{good}");

    let wrong = validate("value = (1 +\n");
    assert_eq!(wrong["isValid"], false, "{wrong}");
    let error = &wrong["syntaxError"];
    assert_eq!((&error["name"], &error["line"], &error["column"]), (&"SyntaxError".into(), &1.into(), &9.into()));
    assert_eq!(error["value"], "'(' was never closed", "CPython's own words: {wrong}");

    let blocked = validate("import json\nimport ctypes\nimport torch\n");
    assert_eq!(blocked["isValid"], false, "{blocked}");
    let rules: Vec<_> =
        blocked["violations"].as_array().unwrap().iter().map(|one| (&one["rule"], &one["line"])).collect();
    assert_eq!(rules, [(&"BlockedModule".into(), &2.into()), (&"ModuleNotAllowed".into(), &3.into())], "{blocked}");
    server.assert_next_works();
}
