//! Files of a request and of a result, in forked and in fresh interpreters.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    client::{Connection, Request},
    server::{Server, address},
};
use crate::{
    files::{HOSTILE, assert_harmless},
    host, require,
    running::Running,
    user::OrdinaryUser,
};

/// What a request brings, and its result, on the warm and on the cold path.
fn both(server: &Server, request: &Value) -> [Value; 2] {
    ["on", "off"].map(|zygote| {
        let mut request = request.clone();
        request["isolation"] = json!({ "zygote": zygote });
        let result = server.execute(&request).ok();
        assert_eq!(result["start"]["path"] == "cold", zygote == "off", "{result}");
        result
    })
}

#[test]
fn files_go_in_and_come_out() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    server.wait_until_parked("bare");
    let big: Vec<u8> = (0..3_000_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let code = "import hashlib, helper, os\n\
                print(helper.WORD, open('/work/data/a.txt').read(), hashlib.sha256(open('big', 'rb').read()).hexdigest())\n\
                print(*(f'{oct(os.stat(path).st_mode)} {os.stat(path).st_uid}' for path in ('main.py', 'data', 'big')))\n\
                open('data/a.txt', 'a').write('!'); open('new.bin', 'wb').write(bytes([0, 255]))\n\
                open('large.txt', 'w').write('x' * 300_000)";
    let request = json!({
        "code": code,
        "files": [
            { "path": "data/a.txt", "text": "h\u{e9}llo" },
            { "path": "/work/helper.py", "text": "WORD = 'word'" },
            { "path": "big", "base64": BASE64_STANDARD.encode(&big) },
        ],
        "outputFiles": "inline",
    });
    for round in 0..3 {
        for result in both(&server, &request) {
            let stdout = result["stdout"].as_str().unwrap();
            assert!(stdout.starts_with("word h\u{e9}llo ") && result["exitCode"] == 0, "{round}: {result}");
            assert!(stdout.ends_with("0o100644 1000 0o40755 1000 0o100644 1000\n"), "{result}");
            let files = result["files"].as_array().unwrap();
            let shown: Vec<_> = files
                .iter()
                .map(|file| (file["path"].as_str().unwrap(), file["mimeType"].as_str().unwrap(), &file["content"]))
                .collect();
            let changed = json!(BASE64_STANDARD.encode("h\u{e9}llo!"));
            assert_eq!(
                shown,
                [
                    ("data/a.txt", "text/plain", &changed),
                    ("large.txt", "text/plain", &Value::Null),
                    ("new.bin", "application/octet-stream", &json!("AP8=")),
                ]
            );
            assert!(result.get("skippedFiles").is_none(), "{result}");
        }
    }
    // Another program finds nothing of it; what is not wanted is not looked at.
    let request = json!({ "code": "import os; print(os.listdir('/work')); open('x', 'w')", "outputFiles": "none" });
    for result in both(&server, &request) {
        assert_eq!((&result["stdout"], result.get("files")), (&json!("['main.py']\n"), None), "{result}");
    }
    let listed = server.run("open('x', 'w').write('y')");
    assert_eq!((&listed["files"][0]["path"], listed["files"][0].get("content")), (&json!("x"), None), "{listed}");
}

#[test]
fn files_that_make_no_sense_are_named() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    for (files, part) in [
        (json!([{ "path": "a", "text": "" }, { "path": "b", "base64": "%" }]), "`files[1].base64`"),
        (json!([{ "path": "a" }]), "`files[0]`"),
        (json!([{ "path": "../a", "text": "" }]), "`../a`"),
        (json!([{ "path": "a", "text": "" }, { "path": "a/b", "text": "" }]), "`a/b`"),
    ] {
        let answer = server.execute(&json!({ "code": "print(1)", "files": files }));
        assert_eq!(answer.status, 400);
        let problem = answer.json();
        assert_eq!(problem["code"], "InvalidRequest", "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{part}: {problem}");
    }
    let large = json!([{ "path": "a", "text": "x".repeat(2 << 20) }]);
    let answer = server.execute(&json!({ "code": "", "files": large, "resources": { "diskLimit": "1Mi" } }));
    assert!(answer.status == 400 && answer.json()["detail"].as_str().unwrap().contains("`diskLimit`"));
    // As large as the disk: no worker is lost to it, and the next program is warm.
    let full = json!([{ "path": "a", "text": "x".repeat(1 << 20) }]);
    let answer = server.execute(&json!({ "code": "print(1)", "files": full, "resources": { "diskLimit": "1Mi" } }));
    assert!(answer.status == 400 && answer.json()["detail"].as_str().unwrap().contains("do not fit"));
    assert_eq!(server.run("print(1)")["stdout"], "1\n");
}

#[test]
fn whatever_a_warm_program_leaves_is_survived() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    server.wait_until_parked("bare");
    let code = format!("root = '/work'\n{HOSTILE}\nprint('done')");
    for disk in ["1Gi", "7Mi"] {
        for result in both(&server, &json!({ "code": code, "resources": { "diskLimit": disk } })) {
            assert_eq!(result["stdout"], "done\n", "{result}");
            assert_harmless(&result);
            let next = server.run("import os; print(os.listdir('/work'))");
            assert_eq!((&next["stdout"], next.get("files")), (&json!("['main.py']\n"), None), "{next}");
        }
    }
}

#[test]
fn figures_that_are_left_open_are_saved() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    server.wait_until_warm(&["matplotlib"]);
    let draw =
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.figure()\nplt.plot([3, 1])\nplt.title('\u{4e2d}')\n";
    for (end, names, code) in [
        ("", &["figure-1.png", "figure-2.png"][..], 0),
        ("import sys; sys.exit(3)", &["figure-1.png", "figure-2.png"], 3),
        ("1 / 0", &["figure-1.png", "figure-2.png"], 1),
        ("import os; os._exit(4)", &[], 4),
        ("plt.close('all')", &[], 0),
        ("plt.close(1)", &["figure-1.png"], 0),
        ("import os; os.symlink('x', 'figure-1.png')", &["figure-2.png", "figure-3.png"], 0),
        ("plt.gcf().savefig = None", &["figure-1.png"], 0),
        ("plt.style.use('default')", &["figure-1.png", "figure-2.png"], 0),
        ("import os; os.chdir('/tmp')", &["figure-1.png", "figure-2.png"], 0),
        ("import os\nif os.fork() == 0: plt.figure()\nelse: os.wait()", &["figure-1.png", "figure-2.png"], 0),
    ] {
        for result in both(&server, &json!({ "code": format!("{draw}{end}"), "timeout": 60 })) {
            let files = result["files"].as_array().map_or(&[][..], Vec::as_slice);
            let found: Vec<&str> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
            assert_eq!((found.as_slice(), &result["exitCode"]), (names, &json!(code)), "{end}: {result}");
            assert_eq!(result["stdout"], "", "{end}: {result}");
            assert!(files.iter().all(|file| file["mimeType"] == "image/png" && file["size"].as_u64() > Some(1000)));
            assert_eq!(result["stderr"] != "", end == "1 / 0", "{result}");
        }
    }
    // Where files are not wanted there is no drawing, and where nothing is drawn there are no files.
    for (code, wanted) in [(draw, "none"), ("import matplotlib.pyplot, pandas", "list"), ("print('plot')", "list")] {
        let request =
            json!({ "code": format!("{code}\nimport os; print(os.listdir('/work'))"), "outputFiles": wanted });
        for result in both(&server, &request) {
            assert_eq!(result.get("files"), None, "{result}");
        }
    }
}

#[test]
fn an_ordinary_user_s_server_has_files() {
    if !require::root() {
        return;
    }
    let user = OrdinaryUser::with_cgroups();
    let mut command = user.command(&["serve", "--port", "0"]);
    command.env("PIP_NO_INDEX", "1");
    let mut running = Running::start(command);
    let address = address(&mut running);
    let mut paths = Vec::new();
    host::eventually("a forked program with files", || {
        let body = json!({
            "code": format!("root = '/work/out'\nprint(open('in/a').read())\n{HOSTILE}"),
            "environment": "plain",
            "files": [{ "path": "in/a", "text": "given" }, { "path": "out/b", "text": "" }],
        });
        let answer = Connection::open(address).ask(&Request::execute(&body));
        if answer.status == 429 {
            return None;
        }
        let result = answer.ok();
        assert_eq!((&result["stdout"], &result["exitCode"]), (&json!("given\n"), &json!(0)), "{result}");
        let files = result["files"].as_array().unwrap();
        assert!(files.iter().any(|file| file["path"] == "out/first"), "{result}");
        assert!(files.iter().all(|file| file["path"].as_str().unwrap().starts_with("out/")), "{result}");
        let path = result["start"]["path"].as_str().unwrap().to_owned();
        let is_warm = path != "cold";
        paths.push(path);
        is_warm.then_some(())
    });
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.finish().code, 0, "{paths:?}");
    user.assert_nothing_left();
}

#[test]
fn files_are_downloaded_while_they_are_kept() {
    if !require::default_tier() {
        return;
    }
    let server = Server::start();
    // By a form, and under a name that needs care.
    let form = "--x\r\ncontent-disposition: form-data; name=\"request\"\r\n\r\n\
                {\"code\": \"import os\\nos.mkdir('out')\\nopen('out/a b%.bin', 'wb').write(open('in/data', 'rb').read()[::-1])\"}\
                \r\n--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"in/data\"\r\n\r\n\
                \0\u{1}two\r\n--x--\r\n";
    let request = Request::post("/api/python/execute", form).header("content-type", "multipart/form-data; boundary=x");
    let result = server.ask(&request).ok();
    assert_eq!(result["files"][0]["path"], "out/a b%.bin", "{result}");
    let files = format!("/api/python/executions/{}/files", result["executionId"].as_str().unwrap());
    let answer = server.ask(&Request::get(&format!("{files}/out/a%20b%25.bin")));
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"owt\x01\0"[..]), "{answer:?}");
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer:?}");
    }
    let tag = format!("\"{}\"", result["files"][0]["sha256"].as_str().unwrap());
    assert_eq!(answer.header("etag"), Some(tag.as_str()));
    // Inputs, the program, and whatever is not in the result are not there; nor is anything of the host's.
    for other in ["in/data", "main.py", "out", "../out/a b%.bin", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "x%00"] {
        let path = format!("{files}/{}", other.replace(' ', "%20").replace("b%.", "b%25."));
        server.ask(&Request::get(&path)).problem(404, "NotFound");
    }
    server.assert_next_works();
}
