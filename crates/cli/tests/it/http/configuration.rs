//! How a server is configured, and what it does when it is not well.

use std::net::TcpListener;

use serde_json::json;

use super::{
    client::Request,
    server::{Server, command},
};
use crate::{
    host,
    place::{Outcome, Place, finish},
    require, site,
};

/// `serve` that must not start.
fn refused(place: &Place, arguments: &[&str], settings: &[(&str, &str)]) -> Outcome {
    let outcome = finish(command(place, arguments, settings), b"");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{outcome:?}");
    assert!(outcome.stderr.starts_with("error: ") && !outcome.stderr.contains("listening"), "{outcome:?}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
    outcome
}

/// Writes a file, and returns its path.
fn file(place: &Place, name: &str, text: &str) -> String {
    let path = place.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_bad_file_stops_the_start() {
    let place = Place::new();
    let bad = r#"{ "PythonSandbox": { "DefaultTimeout": 10,
        "DefaultResources": { "MemoryLimit": "100 apples" }, "MaxConcurentExecutions": 5 } }"#;
    let path = file(&place, "settings.json", bad);
    let outcome = refused(&place, &["--config", &path], &[]);
    for part in
        ["PythonSandbox:DefaultResources:MemoryLimit", "`100 apples`", "settings.json", "MaxConcurrentExecutions"]
    {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
    // The file that nobody named: in the working directory.
    let unnamed = place.path().join("work/appsettings.json");
    std::fs::write(&unnamed, bad).unwrap();
    let outcome = refused(&place, &[], &[]);
    assert!(outcome.stderr.contains("appsettings.json") && outcome.stderr.contains("`100 apples`"), "{outcome:?}");
    std::fs::remove_file(unnamed).unwrap();

    for (text, part) in [("{ \"PythonSandbox\": { ", "is not JSON"), ("", "is empty"), ("[]", "not an object")] {
        let path = file(&place, "settings.json", text);
        let outcome = refused(&place, &["--config", &path], &[]);
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
    let outcome = refused(&place, &["--config", "/no/such/settings.json"], &[]);
    assert!(outcome.stderr.contains("/no/such/settings.json"), "{outcome:?}");
    place.assert_nothing_left(&[], &[]);
}

#[test]
fn bad_variables_and_flags_stop_the_start() {
    let place = Place::new();
    for (name, value, part) in [
        ("DefaultTimeout", "soon", "`soon`"),
        ("MaxConcurrentExecutions", "0", "`0`"),
        ("DefaultTimout", "1", "DefaultTimeout"),
        ("Port", "70000", "65535"),
        ("DefaultTimeout", "400", "MaxTimeout"),
        ("Zygote", "maybe", "`On`, `Off`"),
        ("ZygoteProfiles__0", "pandas=nympy:pandas", "\"nympy\""),
        ("ParkedMin", "65", "ParkedMax"),
    ] {
        let outcome = finish(command(&place, &["--port", "0"], &[(name, value)]), b"");
        assert_eq!(outcome.code, 2, "{name}={value}: {outcome:?}");
        assert!(outcome.stderr.contains(&format!("PythonSandbox__{name}")), "{name}={value}: {outcome:?}");
        assert!(outcome.stderr.contains(part), "{name}={value}: {outcome:?}");
    }
    let secret = refused(&place, &[], &[("ApiKeys__0", "too-short-\u{E9}")]);
    assert!(secret.stderr.contains("ApiKeys") && !secret.stderr.contains("too-short"), "{secret:?}");
    for arguments in
        [&["--port", "70000"][..], &["--host", "localhost"], &["--zygote", "maybe"], &["--no-such-flag"], &["file.py"]]
    {
        refused(&place, arguments, &[]);
    }
}

#[test]
fn a_port_in_use_is_told() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let outcome = refused(&place, &["--port", &port], &[]);
    assert!(outcome.stderr.contains(&format!("127.0.0.1:{port}")), "{outcome:?}");
    assert!(outcome.stderr.contains("Address already in use"), "{outcome:?}");
    assert!(outcome.stderr.contains("\nhint: choose another address or port"), "{outcome:?}");
    place.assert_nothing_left(&[], &[]);
}

#[test]
fn settings_take_effect() {
    if !require::default_tier() {
        return;
    }
    // A second; more where the next program would not end within it.
    let seconds = site::slowness();
    let server = Server::with(&[("DefaultTimeout", &seconds.to_string())]);
    let result = server.run("import time; time.sleep(300)");
    assert_eq!(
        (&result["status"], &result["limits"]["timeoutMs"]),
        (&"TimedOut".into(), &(seconds * 1000).into()),
        "{result}"
    );
    server.assert_next_works();
}

#[test]
fn the_last_source_wins() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let text = r#"{
        // What .NET accepts.
        "Logging": { "Level": "Information" },
        "PythonSandbox": {
            "Port": 1, "DefaultTimeout": 77, "MaxTimeout": 99,
            "DefaultResources": { "CpuLimit": "500m", "MemoryLimit": "96Mi", "DiskLimit": "24Mi", "ProcessLimit": 7 },
            "MaxResources": { "MemoryLimit": "128Mi" },
        },
    }"#;
    let path = file(&place, "settings.json", text);
    // The port of the file is wrong, the variable's too: the flag wins.
    let arguments = ["--config", &path, "--port", "0"];
    let command = command(&place, &arguments, &[("DefaultTimeout", "33"), ("Port", "2")]);
    let server = Server::of(place, command);
    assert!(server.address.port() > 2);
    let limits = server.run("print(1)")["limits"].clone();
    assert_eq!(
        (
            &limits["timeoutMs"],
            &limits["cpuLimit"],
            &limits["memoryLimit"],
            &limits["diskLimit"],
            &limits["processLimit"]
        ),
        (&33_000.into(), &"500m".into(), &"96Mi".into(), &"24Mi".into(), &7.into()),
        "{limits}"
    );
    let hog = server.run("x = bytearray(120 << 20)");
    assert_eq!(hog["termination"]["reason"], "OutOfMemory", "{hog}");
    let more = json!({ "code": "1", "resources": { "memoryLimit": "129Mi" } });
    let problem = server.execute(&more).problem(400, "InvalidRequest");
    assert_eq!(problem["detail"], "a `memoryLimit` of 129Mi is above the maximum of 128Mi");
    let longer = server.execute(&json!({ "code": "1", "timeout": 99.5 })).problem(400, "InvalidRequest");
    assert_eq!(longer["detail"], "a `timeout` of 99.5 s is above the maximum of 99 s");
    assert_eq!(server.execute(&json!({ "code": "1", "timeout": 99 })).ok()["limits"]["timeoutMs"], 99_000);
}

#[test]
fn everything_is_kept_in_the_data_folder() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let data = place.cache();
    let mut command = command(&place, &["--data-dir", data.to_str().unwrap()], &[]);
    command.env("AEVATAR_SANDBOX_CACHE", "/no/such/folder").env_remove("HOME");
    let server = Server::of(place, command);
    server.assert_next_works();
    let entries: Vec<_> = std::fs::read_dir(&data).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(data.join("disks").is_dir(), rustix::process::getuid().is_root(), "disk images are root's: {entries:?}");
    host::eventually("readiness", || (server.ask(&Request::get("/readyz")).status == 200).then_some(()));
}
