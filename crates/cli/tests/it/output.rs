//! Output: live, whole, bounded, and nobody need listen.

use std::{
    io::Read,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{host, place::Place, require, site};

#[test]
fn output_arrives_while_the_program_runs() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "import sys; print('first', flush=True); print('warning', file=sys.stderr, flush=True); input()";
    let mut running = place.start(&["-c", code]);
    running.wait_for("first\n");
    // It waits for a line that nobody has sent, so it cannot have ended.
    assert!(!running.has_ended());
    std::io::Write::write_all(running.stdin.as_mut().unwrap(), b"go\n").unwrap();
    let outcome = running.finish();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, "warning\n"));
}

#[test]
fn a_reader_that_leaves_does_not_hold_up_the_program() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "for i in range(200_000): print('line', i)";
    let mut command = place.command(&["run", "-c", code]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut beginning = [0; 7];
    child.stdout.take().unwrap().read_exact(&mut beginning).unwrap();
    assert_eq!(&beginning, b"line 0\n");
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > site::patience(Duration::from_secs(20)) {
            kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
            child.wait().unwrap();
            panic!("it hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(status.code(), Some(0));
    place.assert_next_works();
}

#[test]
fn a_reader_that_never_reads_does_not_stop_the_deadline() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "while True: print('x' * 100_000)";
    let mut command = place.command(&["run", "--timeout", "1", "-c", code]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The pipe is open and full from now on; the sandbox must be gone after its second all the same.
    let pid = child.id();
    host::eventually("its sandbox", || (!host::cgroups_of(pid).is_empty()).then_some(()));
    let keeper = host::eventually("the keeper", || {
        host::children(pid).into_iter().find(|child| child.name() == "aevatar-sandbox-keeper")
    });
    let program = host::eventually("the program", || {
        let tree = host::descendants(keeper.pid);
        (tree.len() >= 3).then_some(tree)
    });
    let sandbox: Vec<_> = program.into_iter().skip(1).collect();
    host::eventually_nothing("processes of the sandbox", || {
        sandbox.iter().filter(|process| process.is_alive()).map(|process| process.pid.to_string()).collect()
    });
    // Read at last, it says what happened.
    let mut flood = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut flood, &mut std::io::sink()));
    let status = host::eventually("its end", || child.try_wait().unwrap());
    reader.join().unwrap().unwrap();
    assert_eq!(status.code(), Some(124));
    place.assert_nothing_left(&[pid], &[]);
}

#[test]
fn much_output_is_streamed_whole_and_kept_as_head_and_tail() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    // 50 MiB of numbered lines of 16 bytes.
    let lines = (50 << 20) / 16;
    let code = format!("import sys\nfor i in range({lines}): sys.stdout.write(f'{{i:015}}\\n')");
    let streamed = place.run(&["-c", &code]);
    assert_eq!((streamed.code, streamed.stdout_bytes), (0, 50 << 20));
    assert!(streamed.stdout.starts_with("000000000000000\n"));
    assert!(streamed.stdout.ends_with(&format!("{:015}\n", lines - 1)));

    let result = place.run_json(&["-c", &code]);
    assert_eq!(result["status"], "Completed");
    assert_eq!(result["truncated"]["stdout"], true);
    assert_eq!(result["truncated"]["stderr"], false);
    assert_eq!(result["usage"]["outputBytes"], 50 << 20);
    let kept = result["stdout"].as_str().unwrap();
    assert!(kept.starts_with("000000000000000\n") && kept.ends_with(&format!("{:015}\n", lines - 1)));
    assert!(((1 << 19)..(2 << 20)).contains(&kept.len()), "{} bytes kept", kept.len());
}

#[test]
fn output_past_its_limit_ends_the_program() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let result = place.run(&["--json", "-c", "import os\nwhile True: os.write(1, b'x' * 65536)"]);
    assert_eq!(result.code, 137);
    assert_eq!(result.json()["termination"]["reason"], "OutputLimit");
    place.assert_next_works();
}
