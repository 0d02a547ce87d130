//! Zygotes that are killed, stopped, replaced or have too little memory, while programs keep coming: none is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{client::Request, server::Server};
use crate::{host, require};

/// What `warm` of the capabilities says of one profile.
fn profile(server: &Server, name: &str) -> Value {
    let warm = server.ask(&Request::get("/api/python/capabilities")).ok()["warm"].clone();
    let profiles = warm["profiles"].as_array().unwrap().clone();
    profiles.into_iter().find(|profile| profile["name"] == name).unwrap_or(Value::Null)
}

/// Waits until workers of `bare` are parked.
fn wait_until_warm(server: &Server) {
    host::eventually("parked workers", || (profile(server, "bare")["parked"].as_u64()? > 0).then_some(()));
}

/// A server whose zygotes have nothing to import: they are made in no time.
fn bare_server(settings: &[(&str, &str)]) -> Server {
    let profiles = [("ZygoteProfiles__0", "json=json")];
    let server = Server::with(&[&profiles, settings].concat());
    wait_until_warm(&server);
    server
}

/// Descendants of the server with this name, the oldest first.
fn named(server: &Server, name: &str) -> Vec<Pid> {
    let mut tree = host::descendants(server.pid());
    tree.sort_by_key(|process| process.pid);
    let has_name =
        |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    let pids = tree.into_iter().map(|process| process.pid).filter(|pid| has_name(*pid));
    pids.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
}

/// Sends programs from two clients until `meanwhile` has returned and a moment longer. Returns how they were started;
/// all of them have worked.
fn under_load(server: &Arc<Server>, meanwhile: impl FnOnce()) -> Vec<String> {
    let ended = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..2)
        .map(|client| {
            let (server, ended) = (Arc::clone(server), Arc::clone(&ended));
            thread::spawn(move || {
                let mut paths = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    let number = paths.len();
                    let result = server.run(&format!("print({client}, {number})"));
                    assert_eq!(result["stdout"], format!("{client} {number}\n"), "{result}");
                    paths.push(result["start"]["path"].as_str().unwrap().to_owned());
                }
                paths
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    meanwhile();
    thread::sleep(Duration::from_millis(300));
    ended.store(true, Ordering::Relaxed);
    clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
}

/// Programs start warm again.
fn assert_recovers(server: &Server) {
    host::eventually("a warm start", || (server.run("print(1)")["start"]["path"] != "cold").then_some(()));
    wait_until_warm(server);
    assert_eq!(server.run("print(1)")["start"]["path"], "parked");
}

#[test]
fn zygotes_that_are_killed_are_made_again_and_no_program_is_lost() {
    if !require::default_tier() {
        return;
    }
    let server = Arc::new(bare_server(&[]));
    let paths = under_load(&server, || {
        for _round in 0..3 {
            for zygote in named(&server, "sandbox-zygote") {
                let _ = kill_process(zygote, Signal::KILL);
            }
            thread::sleep(Duration::from_millis(200));
        }
    });
    assert!(paths.iter().any(|path| path != "cold"), "{paths:?}");
    assert!(profile(&server, "bare")["lost"].as_u64().unwrap() >= 1);
    assert_recovers(&server);
}

/// A cgroup with next to no memory; nothing where memory is not limited by cgroup v1 or the test may not make one.
struct Starvation(std::path::PathBuf);

impl Starvation {
    fn make() -> Option<Self> {
        let parent = host::cgroup_parents().iter().find(|folder| folder.join("memory.limit_in_bytes").exists())?;
        let folder = parent.join(format!("starvation-{}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        let made = Self(folder);
        std::fs::write(made.0.join("memory.limit_in_bytes"), "65536").ok()?;
        Some(made)
    }

    fn killed(&self) -> bool {
        let control = std::fs::read_to_string(self.0.join("memory.oom_control")).unwrap_or_default();
        control.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"))
    }
}

impl Drop for Starvation {
    fn drop(&mut self) {
        host::eventually("the end of a cgroup", || std::fs::remove_dir(&self.0).ok());
    }
}

#[test]
fn a_zygote_that_is_killed_for_want_of_memory_is_made_again_and_no_program_is_lost() {
    if !require::root() {
        return;
    }
    let Some(starvation) = Starvation::make() else {
        // On cgroup v2 a process cannot be moved out of what is delegated.
        eprintln!("not tried: there is no memory hierarchy of cgroup v1");
        return;
    };
    let server = Arc::new(bare_server(&[]));
    under_load(&server, || {
        let zygote = named(&server, "sandbox-zygote")[0].as_raw_nonzero().to_string();
        std::fs::write(starvation.0.join("cgroup.procs"), zygote).unwrap();
        host::eventually("a zygote that was killed", || starvation.killed().then_some(()));
    });
    assert!(profile(&server, "bare")["lost"].as_u64().unwrap() >= 1);
    assert_recovers(&server);
}

#[test]
fn a_zygote_that_hangs_is_replaced_and_no_program_is_lost() {
    if !require::default_tier() {
        return;
    }
    let server = Arc::new(bare_server(&[]));
    under_load(&server, || {
        // The oldest: its children are asked for nothing here.
        kill_process(named(&server, "sandbox-zygote")[0], Signal::STOP).unwrap();
        // Longer than anybody waits for it.
        thread::sleep(Duration::from_secs(5));
    });
    assert!(profile(&server, "bare")["lost"].as_u64().unwrap() >= 1);
    assert_recovers(&server);
    host::eventually("the end of the zygotes that hang", || {
        let stopped = |pid: &Pid| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
            stat.contains(") T ")
        };
        (!named(&server, "sandbox-zygote").iter().any(stopped)).then_some(())
    });
}

#[test]
fn workers_that_are_killed_while_they_wait_are_not_given_a_program() {
    if !require::default_tier() {
        return;
    }
    let server = Arc::new(bare_server(&[]));
    under_load(&server, || {
        for _round in 0..5 {
            for worker in named(&server, "sandbox-worker") {
                let _ = kill_process(worker, Signal::KILL);
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    assert_recovers(&server);
}

#[test]
fn an_engine_that_dies_is_started_again_with_its_zygotes() {
    if !require::default_tier() {
        return;
    }
    let server = Arc::new(bare_server(&[]));
    // Nothing runs at that moment: what runs in an engine dies with it, and is told so.
    for launcher in named(&server, "sandbox-launch") {
        kill_process(launcher, Signal::KILL).unwrap();
    }
    assert_eq!(server.run("print('at once')")["stdout"], "at once\n");
    assert_recovers(&server);
}

#[test]
fn zygotes_are_replaced_by_count_without_a_cold_start() {
    if !require::default_tier() {
        return;
    }
    let server = bare_server(&[("ZygoteMaxForks", "20")]);
    let began = Instant::now();
    let mut paths = Vec::new();
    while profile(&server, "bare")["built"].as_u64().unwrap() < 3 {
        let result = server.run("print(1)");
        paths.push(result["start"]["path"].as_str().unwrap().to_owned());
        assert!(began.elapsed() < Duration::from_mins(1), "it is not replaced: {}", profile(&server, "bare"));
    }
    assert!(!paths.iter().any(|path| path == "cold"), "{paths:?}");
    assert_eq!(profile(&server, "bare")["lost"], 0);
}

#[test]
fn a_profile_that_cannot_be_imported_says_why_and_programs_run_with_its_parent() {
    if !require::default_tier() {
        return;
    }
    // It raises on every system but Windows.
    let server = Server::with(&[
        ("ZygoteProfiles__0", "broken=antigravity_of_nobody,json"),
        ("ZygoteProfiles__1", "tree=asyncio.windows_events"),
    ]);
    wait_until_warm(&server);
    let problem = host::eventually("a problem", || profile(&server, "tree")["problem"].as_str().map(str::to_owned));
    assert!(problem.contains("Error"), "{problem}");
    // What the environment has not is passed over.
    host::eventually("the profile without a module", || {
        profile(&server, "broken")["ready"].as_bool().filter(|ready| *ready)
    });
    assert_eq!(server.run("print(1)")["start"]["path"], "parked");
}

#[test]
fn limits_that_differ_from_those_of_parked_workers_hold() {
    if !require::default_tier() {
        return;
    }
    let server = bare_server(&[]);
    let run = |code: &str, resources: Value| server.execute(&json!({ "code": code, "resources": resources })).ok();
    let parked = |result: &Value| assert_eq!(result["start"]["path"], "parked", "{result}");

    let memory = run("x = bytearray(100 << 20)", json!({ "memoryLimit": "64Mi" }));
    parked(&memory);
    assert_eq!(memory["termination"]["reason"], "OutOfMemory", "{memory}");
    assert_eq!(memory["limits"]["memoryLimit"], "64Mi");
    wait_until_warm(&server);
    let more = run("x = bytearray(600 << 20); print(len(x) >> 20)", json!({ "memoryLimit": "700Mi" }));
    parked(&more);
    assert_eq!(more["stdout"], "600\n", "{more}");
    wait_until_warm(&server);
    let processes = run(
        "import os\nfor _ in range(10):\n    if os.fork() == 0:\n        import time; time.sleep(1)",
        json!({ "processLimit": 3 }),
    );
    parked(&processes);
    assert_eq!(processes["termination"]["reason"], "ProcessLimit", "{processes}");
    wait_until_warm(&server);
    let cpu = run("while True: pass", json!({ "cpuTime": 0.2 }));
    parked(&cpu);
    assert_eq!(cpu["termination"]["reason"], "CpuTimeLimit", "{cpu}");
    wait_until_warm(&server);
    let slow = run(
        "import time\nt = time.perf_counter()\nwhile time.process_time() < 0.2: pass\nprint(time.perf_counter() - t > 0.6)",
        json!({ "cpuLimit": "100m" }),
    );
    parked(&slow);
    assert_eq!(slow["stdout"], "True\n", "a tenth of a CPU: {slow}");
    wait_until_warm(&server);
    // A disk cannot be changed any more: another sandbox is made.
    let disk = run("open('/work/big', 'wb').write(b'x' * (20 << 20))", json!({ "diskLimit": "16Mi" }));
    assert_eq!(disk["start"]["path"], "forked", "{disk}");
    assert_eq!(disk["termination"]["reason"], "DiskLimit", "{disk}");
    let seed = server.execute(&json!({ "code": "print(hash('x'))", "env": { "PYTHONHASHSEED": "0" } })).ok();
    assert_eq!(seed["start"]["path"], "cold", "an interpreter reads it when it starts: {seed}");
}
