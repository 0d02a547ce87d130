//! `POST /api/python/execute`: programs, their inputs and their limits.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{client::Request, server::Server};
use crate::require;

#[test]
fn a_result_has_every_field() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let answer = server.execute(&json!({ "code": "print(\"Hello, World!\")" }));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let result = answer.ok();
    let names: BTreeSet<&str> = result.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "executionId",
        "status",
        "isCompleted",
        "exitCode",
        "stdout",
        "stderr",
        "truncated",
        "error",
        "termination",
        "hints",
        "warnings",
        "usage",
        "limits",
        "isolation",
        "start",
        "environment",
        "queuedAt",
        "startedAt",
        "finishedAt",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    assert_eq!(
        (&result["status"], &result["isCompleted"], &result["exitCode"], &result["stdout"], &result["stderr"]),
        (&"Completed".into(), &true.into(), &0.into(), &"Hello, World!\n".into(), &"".into())
    );
    assert_eq!(result["truncated"], json!({ "stdout": false, "stderr": false }));
    assert_eq!((&result["error"], &result["hints"], &result["warnings"]), (&Value::Null, &json!([]), &json!([])));
    assert_eq!(result["termination"]["reason"], "Exited");
    assert_eq!(result["isolation"]["tier"], "default");
    // Without root, half the memory limit.
    let disk = if rustix::process::getuid().is_root() { "1Gi" } else { "256Mi" };
    assert_eq!(
        (&result["limits"]["cpuLimit"], &result["limits"]["memoryLimit"], &result["limits"]["diskLimit"]),
        (&"1".into(), &"512Mi".into(), &disk.into())
    );
    assert_eq!(result["limits"]["timeoutMs"], 30_000);
    assert!(result["environment"].as_str().unwrap().starts_with("default (CPython 3."), "{result}");
    let at = |name: &str| result[name].as_str().unwrap().to_owned();
    assert!(at("queuedAt") <= at("startedAt") && at("startedAt") <= at("finishedAt"), "{result}");

    // What the client has and what the log has lead to one another.
    let id = result["executionId"].as_str().unwrap();
    let line = crate::host::eventually("the execution in the log", || {
        server.log().lines().find(|line| line.contains(id) && line.contains("answered")).map(str::to_owned)
    });
    assert!(line.contains("status=200") && line.contains("reason=Exited"), "{line}");
    let log = server.log();
    assert!(!log.contains("Hello"), "programs and their output are not logged: {log}");
}

#[test]
fn inputs_reach_the_program() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let code = "import os, sys\nprint(sys.stdin.read(), sys.argv[1:], os.environ['WORD'], os.environ['EMPTY'] == '')";
    let result = server
        .execute(&json!({
            "code": code,
            "stdin": "两行\nof input",
            "args": ["a b", "", "--json", "日本", "\u{1F600}"],
            "env": { "WORD": "a=b 中", "EMPTY": "" },
            "timeout": 20.5,
        }))
        .ok();
    assert_eq!(result["stdout"], "两行\nof input ['a b', '', '--json', '日本', '\u{1F600}'] a=b 中 True\n", "{result}");
    assert_eq!(result["limits"]["timeoutMs"], 20_500);

    // What is null is left out.
    let silent = json!({ "code": "import sys; print(sys.argv, repr(sys.stdin.read()))", "stdin": null, "args": null,
        "env": null, "timeout": null, "resources": null, "environment": null });
    assert_eq!(server.execute(&silent).ok()["stdout"], "['/work/main.py'] ''\n");
    let code = "import resource; print(1)";
    let nulls =
        json!({ "cpuLimit": null, "memoryLimit": null, "diskLimit": null, "processLimit": null, "cpuTime": null });
    assert_eq!(server.execute(&json!({ "code": code, "resources": nulls })).ok()["stdout"], "1\n");
    assert_eq!(server.execute(&json!({ "code": "" })).ok()["status"], "Completed");
}

#[test]
fn output_is_text_whatever_the_program_writes() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let code =
        "import sys\nsys.stdout.buffer.write(b'a\\xffb\\0c\\r\\n')\nsys.stderr.buffer.write('\u{4E2D}'.encode()[:2])";
    let result = server.run(code);
    assert_eq!((&result["stdout"], &result["stderr"]), (&"a\u{FFFD}b\0c\r\n".into(), &"\u{FFFD}".into()));

    let long = server.run("print('x' * (3 << 20))");
    assert_eq!(long["truncated"], json!({ "stdout": true, "stderr": false }));
    let length = long["stdout"].as_str().unwrap().len();
    assert!((1 << 19..(1 << 20) + 200).contains(&length), "{length} bytes");
    server.assert_next_works();
}

#[test]
fn every_end_of_a_program_is_a_200_that_says_why() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let ended = |request: Value, status: &str, exit_code: Value, reason: &str| {
        let result = server.execute(&request).ok();
        assert_eq!(
            (&result["status"], &result["exitCode"], &result["termination"]["reason"]),
            (&status.into(), &exit_code, &reason.into()),
            "{result}"
        );
        assert_eq!(result["isCompleted"], true);
        result
    };
    ended(json!({ "code": "raise SystemExit(3)" }), "Failed", 3.into(), "Exited");
    let failed = ended(json!({ "code": "\nvalue = 1 / 0" }), "Failed", 1.into(), "Exception");
    assert_eq!((&failed["error"]["name"], &failed["error"]["line"]), (&"ZeroDivisionError".into(), &2.into()));
    assert!(failed["stderr"].as_str().unwrap().starts_with("Traceback"), "{failed}");
    ended(json!({ "code": "import os; os.kill(os.getpid(), 11)" }), "Failed", (128 + 11).into(), "Signal");

    let hog = json!({ "code": "x = bytearray(200 << 20)", "resources": { "memoryLimit": "64Mi" } });
    let hog = ended(hog, "Failed", 137.into(), "OutOfMemory");
    assert_eq!(hog["limits"]["memoryLimit"], "64Mi");
    assert!(hog["hints"][0].as_str().unwrap().contains("memoryLimit"), "{hog}");

    let slow = json!({ "code": "import time; time.sleep(60)", "timeout": 0.5 });
    let slow = ended(slow, "TimedOut", 137.into(), "WallTimeLimit");
    let wall = slow["usage"]["wallTimeMs"].as_f64().unwrap();
    assert!((500.0..5000.0).contains(&wall), "{wall} ms");

    let busy = json!({ "code": "while True: pass", "resources": { "cpuTime": 0.3 } });
    ended(busy, "TimedOut", 137.into(), "CpuTimeLimit");

    let full = "with open('/work/file', 'wb', 0) as file:\n    while True: file.write(bytes(1 << 20))";
    let full = ended(json!({ "code": full, "resources": { "diskLimit": "16Mi" } }), "Failed", 1.into(), "DiskLimit");
    assert_eq!(full["error"]["name"], "OSError");

    let fork = "import os, time\nfor _ in range(20):\n    if os.fork() == 0: time.sleep(60)";
    let forks = ended(json!({ "code": fork, "resources": { "processLimit": 4 } }), "Failed", 1.into(), "ProcessLimit");
    assert_eq!(forks["limits"]["processLimit"], 4);
    server.assert_next_works();
}

#[test]
fn a_small_share_of_a_cpu_is_a_small_share() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let code = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass";
    let result = server.execute(&json!({ "code": code, "resources": { "cpuLimit": "100m" } })).ok();
    assert_eq!(result["limits"]["cpuLimit"], "100m");
    let time = |name: &str| result["usage"][name].as_f64().unwrap();
    let (cpu, wall) = (time("cpuTimeMs"), time("wallTimeMs"));
    assert!(wall > 1500.0 && cpu < 0.15 * wall + 250.0, "{cpu} ms of a CPU within {wall} ms");
}

#[test]
fn the_platform_s_casing_is_read_too() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let result = server
        .execute(&json!({
            "Code": "import sys; print(sys.argv[1], input())",
            "Timeout": 7,
            "Resources": { "CpuLimit": "500m", "MemoryLimit": "128Mi", "DiskLimit": "32Mi", "processLimit": 9 },
            "Stdin": "in",
            "Args": ["argument"],
            "Env": { "Name": "value" },
        }))
        .ok();
    assert_eq!(result["stdout"], "argument in\n", "{result}");
    let limits = &result["limits"];
    assert_eq!(
        (&limits["cpuLimit"], &limits["memoryLimit"], &limits["diskLimit"], &limits["timeoutMs"]),
        (&"500m".into(), &"128Mi".into(), &"32Mi".into(), &7000.into())
    );
    assert_eq!(limits["processLimit"], 9);
    let problem = server.execute(&json!({ "Code": "1", "code": "2" })).problem(400, "InvalidRequest");
    assert_eq!(problem["field"], "code", "{problem}");
}

#[test]
fn an_unknown_field_is_named_with_the_nearest() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    for (body, field, hint) in [
        (json!({ "cod": "print(1)" }), "cod", "did you mean `code`?"),
        (json!({ "code": "print(1)", "time_out": 1 }), "time_out", "did you mean `timeout`?"),
        (json!({ "code": "1", "resources": { "memLimit": "1Gi" } }), "resources.memLimit", "`resources.memoryLimit`"),
        (json!({ "code": "1", "Resources": { "cpu_limit": "1" } }), "resources.cpu_limit", "`resources.cpuLimit`"),
        (json!({ "code": "1", "CODE": "2" }), "CODE", "did you mean `code`?"),
        (json!({ "code": "1", "frobnicate": 2 }), "frobnicate", "`code`, `language`, `timeout`"),
    ] {
        let problem = server.execute(&body).problem(400, "InvalidRequest");
        assert_eq!(problem["field"], field, "{problem}");
        assert_eq!(problem["detail"], format!("there is no field `{field}`"));
        assert!(problem["hint"].as_str().unwrap().contains(hint), "{problem}");
    }
    // The names of variables are the program's own.
    let code = "import os; print(os.environ['unknown'], os.environ['Code'])";
    let result = server.execute(&json!({ "code": code, "env": { "unknown": "1", "Code": "2" } })).ok();
    assert_eq!(result["stdout"], "1 2\n");
}

/// Needs the validator.
#[test]
fn a_syntax_error_is_a_result_of_a_program_that_was_not_run() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let result = server.run("print('not printed')\nvalue = (1 +\n");
    assert_eq!(
        (&result["status"], &result["exitCode"], &result["stdout"]),
        (&"Failed".into(), &1.into(), &"".into()),
        "{result}"
    );
    assert_eq!((&result["startedAt"], &result["isolation"]), (&Value::Null, &Value::Null), "{result}");
    assert_eq!(result["start"], Value::Null, "{result}");
    assert_eq!((&result["error"]["name"], &result["error"]["line"]), (&"SyntaxError".into(), &2.into()), "{result}");
    assert_eq!(result["error"]["column"], 9, "{result}");
    assert_eq!(result["termination"]["reason"], "Exception");
    assert_eq!(result["termination"]["message"], "SyntaxError in line 2: the program was not run");
    let stderr = result["stderr"].as_str().unwrap();
    assert!(stderr.contains("File \"/work/main.py\", line 2\n") && stderr.contains("\n            ^\n"), "{stderr}");
    assert!(stderr.ends_with("SyntaxError: '(' was never closed\n"), "{stderr}");
    server.assert_next_works();
}

/// Needs the validator.
#[test]
fn a_program_that_breaks_a_rule_is_not_run() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    let problem = server.execute(&json!({ "code": "print('not printed')\nimport ctypes, torch" }));
    let problem = problem.problem(422, "CodeRejected");
    let violations = problem["violations"].as_array().unwrap();
    let summary: Vec<_> =
        violations.iter().map(|one| (&one["rule"], &one["module"], &one["line"], &one["column"])).collect();
    assert_eq!(
        summary,
        [
            (&"BlockedModule".into(), &"ctypes".into(), &2.into(), &8.into()),
            (&"ModuleNotAllowed".into(), &"torch".into(), &2.into(), &16.into())
        ],
        "{problem}"
    );
    assert!(problem["detail"].as_str().unwrap().starts_with("line 2: "), "{problem}");
    // Not run: no execution is in the log.
    let line = crate::host::eventually("the answer in the log", || {
        server.log().lines().find(|line| line.contains("status=422")).map(str::to_owned)
    });
    assert!(!line.contains(" id="), "{line}");
    server.assert_next_works();
}

#[test]
fn a_program_that_is_too_long_or_has_a_nul_is_refused() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxCodeLength", "1000")]);
    let code = |length: usize| format!("print('fits')#{}", "\u{4E2D}".repeat(length - 14));
    assert_eq!(server.run(&code(1000))["stdout"], "fits\n", "characters are counted, not bytes");
    for path in ["/api/python/execute", "/api/python/validate"] {
        let long = Request::post(path, json!({ "code": code(1001) }).to_string());
        let problem = server.ask(&long).problem(413, "CodeTooLong");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("1001") && detail.contains("1000"), "{problem}");
        let nul = Request::post(path, json!({ "code": "print(1)\0" }).to_string());
        server.ask(&nul).problem(400, "InvalidRequest");
    }
    server.assert_next_works();
}
