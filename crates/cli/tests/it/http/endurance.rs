//! Ten thousand programs in a row: a server is afterwards what it was before.

use std::{sync::Arc, thread, time::Duration};

use serde_json::json;

use super::{client::Request, server::Server};
use crate::{host, require};

/// Programs, from all clients together.
const PROGRAMS: usize = 10_000;
const CLIENTS: usize = 4;
/// What a server may take more after that, in bytes: its allocator keeps a little of what it was given.
const MEMORY_GROWTH: u64 = 24 << 20;

/// Of a server and the host, what must not grow.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    processes: usize,
    cgroups: usize,
    mounts: usize,
    loop_devices: usize,
    namespaces: usize,
}

impl Holdings {
    /// As they are now. What is kept warm is counted as it is: the same number before and after.
    fn of(server: &Server) -> Self {
        let pid = server.pid();
        let entries = |path: String| std::fs::read_dir(path).map_or(0, Iterator::count);
        let tree = host::descendants(pid);
        let namespaces: std::collections::BTreeSet<_> = tree
            .iter()
            .filter_map(|process| std::fs::read_link(format!("/proc/{}/ns/net", process.pid)).ok())
            .collect();
        let cgroups = host::cgroups_of(pid).into_iter().map(|folder| entries(folder.display().to_string())).sum();
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap_or_default().lines().count();
        let loops = std::fs::read_dir("/sys/block").map_or(0, |entries| {
            entries.flatten().filter(|entry| entry.path().join("loop/backing_file").exists()).count()
        });
        Self {
            descriptors: entries(format!("/proc/{pid}/fd")),
            processes: tree.len(),
            cgroups,
            mounts,
            loop_devices: loops,
            namespaces: namespaces.len(),
        }
    }

    /// Whether nothing of `self` is more than a few above `before`: kept disks and idle threads come and go.
    fn is_like(&self, before: &Self) -> bool {
        let pairs = [
            (self.descriptors, before.descriptors, 200),
            (self.processes, before.processes, 0),
            (self.cgroups, before.cgroups, 0),
            (self.mounts, before.mounts, 0),
            (self.loop_devices, before.loop_devices, 20),
            (self.namespaces, before.namespaces, 0),
        ];
        pairs.into_iter().all(|(now, then, more)| now <= then + more)
    }
}

/// Memory of the server's own process, in bytes.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn ten_thousand_programs_leave_a_server_as_it_was() {
    if !require::default_tier() {
        return;
    }
    // One worker is parked, before and after.
    let settings = [("ZygoteProfiles__0", "json=json"), ("ParkedMax", "1")];
    let server = Arc::new(Server::with(&settings));
    let settled = || {
        let warm = server.ask(&Request::get("/api/python/capabilities")).ok()["warm"].clone();
        let profiles = warm["profiles"].as_array().unwrap().clone();
        profiles.iter().all(|profile| profile["parked"] == 1).then_some(())
    };
    host::eventually("parked workers", settled);
    for _warm_up in 0..200 {
        server.run("print(1)");
    }
    thread::sleep(Duration::from_secs(1));
    host::eventually("parked workers", settled);
    let (before, memory_before) = (Holdings::of(&server), memory(&server));

    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let server = Arc::clone(&server);
            thread::spawn(move || {
                let mut connection = server.connect();
                for number in 0..PROGRAMS / CLIENTS {
                    // Some leave files, some leave processes, some fail.
                    let code = match number % 4 {
                        0 => format!("print({client}, {number})"),
                        1 => "open('left', 'w').write('x' * 5000); print('file')".to_owned(),
                        2 => {
                            "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(100)\nprint('daemon')"
                                .to_owned()
                        }
                        _ => "print('raised'); 1 / 0".to_owned(),
                    };
                    let result = connection.ask(&Request::execute(&json!({ "code": code }))).ok();
                    assert!(!result["stdout"].as_str().unwrap().is_empty(), "{result}");
                    assert_ne!(result["start"]["path"], "cold", "{result}");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let after = host::eventually("a server that holds what it held before", || {
        let now = Holdings::of(&server);
        (settled().is_some() && now.is_like(&before)).then_some(now)
    });
    let memory_after = memory(&server);
    assert!(memory_after < memory_before + MEMORY_GROWTH, "{memory_before} → {memory_after}; {before:?} → {after:?}");
    server.assert_next_works();
}
