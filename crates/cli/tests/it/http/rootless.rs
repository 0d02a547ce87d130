//! A server of an ordinary user with delegated cgroups.

use rustix::process::Signal;
use serde_json::json;

use super::{
    client::{Connection, Request},
    server::address,
};
use crate::{host, require, running::Running, user::OrdinaryUser};

#[test]
fn an_ordinary_user_serves() {
    if !require::root() {
        return;
    }
    let user = OrdinaryUser::with_cgroups();
    let mut command = user.command(&["serve", "--port", "0"]);
    // The default environment would have to be downloaded for this user; the test has one of its own.
    command
        .env("PIP_NO_INDEX", "1")
        .env("PythonSandbox__MaxConcurrentExecutions", "1")
        .env("PythonSandbox__MaxQueueLength", "0");
    let mut running = Running::start(command);
    let address = address(&mut running);
    let execute = |code: &str, resources: serde_json::Value| {
        let body = json!({ "code": code, "environment": "plain", "resources": resources });
        Connection::open(address).ask(&Request::execute(&body))
    };
    // Its own look at itself may take the place for a moment.
    let result = host::eventually("a place", || {
        let answer = execute("import os; print(os.getuid(), os.listdir('/work'))", json!({}));
        (answer.status != 429).then(|| answer.ok())
    });
    assert_eq!(result["stdout"], "1000 ['main.py']\n", "{result}");
    assert_eq!(result["isolation"]["tier"], "default");
    let hog = execute("x = bytearray(200 << 20)", json!({ "memoryLimit": "64Mi" })).ok();
    assert_eq!(hog["termination"]["reason"], "OutOfMemory", "{hog}");

    // A client that leaves, and then the server, leave nothing.
    let mut leaving = Connection::open(address);
    let idle = user.processes().len();
    let sleep = json!({ "code": "import time; time.sleep(60)", "environment": "plain" });
    leaving.send(Request::execute(&sleep).bytes());
    host::eventually("the program", || (user.processes().len() > idle).then_some(()));
    drop(leaving);
    host::eventually("a place", || (execute("print('next')", json!({})).status == 200).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    user.assert_nothing_left();
    assert_eq!(user.run(&["-c", "print('next')"]).stdout, "next\n");
}
