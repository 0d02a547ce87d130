//! Many executions at once.

use crate::{
    host,
    place::{Outcome, Place},
    require,
    running::Running,
};

#[test]
fn twenty_at_once_do_not_disturb_each_other() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    place.assert_next_works();
    let code = "import os, sys, time\nopen('/work/own', 'x').write(sys.argv[1])\ntime.sleep(0.5)\n\
                print(open('/work/own').read(), sorted(os.listdir('/work')))\nsys.exit(int(sys.argv[1]))";
    let numbers: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let all: Vec<_> = numbers.iter().map(|number| place.start(&["-c", code, number])).collect();
    let pids: Vec<u32> = all.iter().map(Running::pid).collect();
    for (running, number) in all.into_iter().zip(&numbers) {
        let outcome = running.finish();
        assert_eq!(outcome.code.to_string(), *number, "{outcome:?}");
        assert_eq!(outcome.stdout, format!("{number} ['main.py', 'own']\n"));
    }
    place.assert_nothing_left(&pids, &[]);
    place.assert_next_works();
}

/// Runs `code` beside a program that behaves, and returns what became of it.
fn beside_an_honest_program(limits: &[&str], code: &str) -> Outcome {
    let place = Place::new();
    // Uses memory, files and processes of its own while the other misbehaves.
    let honest = "import sys, time, threading\nprint('ready', flush=True)\ninput()\nblock = bytearray(100 << 20)\n\
                  open('/work/file', 'wb').write(bytes(50 << 20))\n\
                  threads = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(40)]\n\
                  [thread.start() for thread in threads]\n[thread.join() for thread in threads]\nprint('fine')";
    let mut neighbour = place.start(&["--memory", "256Mi", "--timeout", "60", "-c", honest]);
    neighbour.wait_for("ready");
    let bad = place.start(&[limits, &["-c", code]].concat());
    let bad_pid = bad.pid();
    host::eventually("the other's sandbox", || (!host::cgroups_of(bad_pid).is_empty()).then_some(()));
    std::io::Write::write_all(neighbour.stdin.as_mut().unwrap(), b"go\n").unwrap();
    let pids = [neighbour.pid(), bad_pid];
    let good = neighbour.finish();
    assert_eq!((good.code, good.stdout.as_str(), good.stderr.as_str()), (0, "ready\nfine\n", ""));
    let outcome = bad.finish();
    place.assert_nothing_left(&pids, &[]);
    outcome
}

#[test]
fn a_memory_hog_ends_alone() {
    if require::default_tier() {
        let hog = "blocks = []\nwhile True: blocks.append(bytearray(8 << 20))";
        let outcome = beside_an_honest_program(&["--memory", "128Mi"], hog);
        assert_eq!(outcome.code, 137, "{outcome:?}");
    }
}

#[test]
fn a_fork_bomb_hurts_no_neighbour() {
    if require::default_tier() {
        let bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass";
        let outcome = beside_an_honest_program(&["--timeout", "3"], bomb);
        assert_eq!(outcome.code, 124, "{outcome:?}");
    }
}

#[test]
fn a_full_disk_is_nobody_else_s() {
    if require::default_tier() {
        let filler = "with open('/tmp/file', 'wb', 0) as file:\n    while True: file.write(bytes(1 << 20))";
        let outcome = beside_an_honest_program(&["--disk", "32Mi"], filler);
        assert_eq!(outcome.code, 1, "{outcome:?}");
    }
}
