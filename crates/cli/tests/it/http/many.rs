//! Many clients at once.

use std::sync::Barrier;

use serde_json::json;

use super::server::Server;
use crate::{require, site};

/// On a slow host so many would be an overload, which the service reports as such.
fn clients() -> usize {
    if site::slowness() == 1 { 64 } else { 16 }
}

#[test]
fn many_clients_get_their_own_answers() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "64")]);
    let together = Barrier::new(clients());
    std::thread::scope(|scope| {
        for client in 0..clients() {
            let (server, together) = (&server, &together);
            scope.spawn(move || {
                together.wait();
                ask(server, client);
            });
        }
    });
    server.assert_next_works();
}

/// Each says who it is in its own way, and takes notes where another could find them.
fn ask(server: &Server, client: usize) {
    let notes = format!(
        "import os, sys\nopen('/tmp/mine', 'x').write(sys.stdin.read())\nme = open('/tmp/mine').read()\n\
         assert os.listdir('/work') == ['main.py'], os.listdir('/work')\nprint(me, {client}, flush=True)\n"
    );
    let (end, status, exit_code, reason) = match client % 4 {
        0 => (String::new(), "Completed", 0, "Exited"),
        1 => (format!("raise ValueError({client})"), "Failed", 1, "Exception"),
        2 => ("held = bytearray(100 << 20)".to_owned(), "Failed", 137, "OutOfMemory"),
        _ => (format!("sys.exit({client})"), "Failed", i32::try_from(client).unwrap(), "Exited"),
    };
    let body = json!({
        "code": notes + &end,
        "stdin": format!("client {client}"),
        "timeout": 300,
        "resources": { "memoryLimit": format!("{}Mi", 32 + client), "diskLimit": "8Mi" },
    });
    let result = server.execute(&body).ok();
    assert_eq!(
        (&result["status"], &result["exitCode"], &result["termination"]["reason"], &result["stdout"]),
        (&status.into(), &exit_code.into(), &reason.into(), &format!("client {client} {client}\n").into()),
        "{result}"
    );
    assert_eq!(result["limits"]["memoryLimit"], format!("{}Mi", 32 + client));
    if client % 4 == 1 {
        assert_eq!(result["error"]["value"], client.to_string(), "{result}");
    }
}
