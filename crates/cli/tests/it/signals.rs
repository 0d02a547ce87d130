//! Signals to the command: what it says, and that nothing is left.

use rustix::process::Signal;

use crate::{host, place::Place, require};

/// With children that have left its process group and ignore signals, files and shared memory.
const STUBBORN: &str = r"
import os, signal, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        time.sleep(600)
for folder in ('/work', '/tmp', '/dev/shm'):
    open(folder + '/file', 'wb').write(bytes(1 << 20))
print('ready', flush=True)
time.sleep(600)
";

fn ends_by(signal: Signal, code: i32, reason: &str) {
    let place = Place::new();
    let program = place.program(STUBBORN);
    // With --json nothing arrives before the end, so the program is known by its processes.
    let running = place.start(&["--json", &program]);
    let recorded = host::eventually("all its processes", || {
        let tree = host::descendants(running.pid());
        (tree.len() >= 10).then_some(tree)
    });
    running.signal(signal);
    let pid = running.pid();
    let outcome = running.finish();
    assert_eq!(outcome.code, code, "{outcome:?}");
    let result = outcome.json();
    assert_eq!((&result["status"], &result["termination"]["reason"]), (&"Cancelled".into(), &reason.into()));
    place.assert_nothing_left(&[pid], &recorded);

    let mut running = place.start(&[&program]);
    running.wait_for("ready");
    let (pid, recorded) = (running.pid(), host::descendants(running.pid()));
    running.signal(signal);
    let outcome = running.finish();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (code, "ready\n"), "{outcome:?}");
    assert!(outcome.verdict().starts_with(reason), "{outcome:?}");
    place.assert_nothing_left(&[pid], &recorded);
    place.assert_next_works();
}

#[test]
fn interrupt_cancels() {
    if require::default_tier() {
        ends_by(Signal::INT, 130, "Cancelled");
    }
}

#[test]
fn terminate_interrupts() {
    if require::default_tier() {
        ends_by(Signal::TERM, 143, "Interrupted");
    }
}

#[test]
fn hang_up_interrupts() {
    if require::default_tier() {
        ends_by(Signal::HUP, 143, "Interrupted");
    }
}

#[test]
fn signals_at_any_moment_leave_nothing() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let mut pids = Vec::new();
    for round in 0..20 {
        let running = place.start(&["-c", "import time; time.sleep(600)"]);
        pids.push(running.pid());
        std::thread::sleep(std::time::Duration::from_millis(round * 3));
        // Who was started without Ctrl-C, as a shell starts what it puts in the background, does not hear it at first.
        let signal = if round % 2 == 0 && !ctrl_c_is_ignored() { Signal::INT } else { Signal::TERM };
        running.signal(signal);
        let outcome = running.finish();
        let expected = if signal == Signal::INT { 130 } else { 143 };
        assert_eq!(outcome.code, expected, "after {} ms: {outcome:?}", round * 3);
    }
    place.assert_nothing_left(&pids, &[]);
    place.assert_next_works();
}

/// Whether this process ignores SIGINT, and so what it starts does until it has a handler.
fn ctrl_c_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & (1 << (Signal::INT.as_raw() - 1)) != 0
}
