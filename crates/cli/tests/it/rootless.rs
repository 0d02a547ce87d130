//! As an ordinary user with delegated cgroups.

use rustix::process::Signal;

use crate::{host, require, user::OrdinaryUser};

#[test]
fn an_ordinary_user_has_the_default_tier() {
    if !require::root() {
        return;
    }
    let user = OrdinaryUser::with_cgroups();
    let result = user.run_json(&["-c", "import os; print(os.getuid(), os.listdir('/work'))"]);
    assert_eq!((&result["stdout"], &result["exitCode"]), (&"1000 ['main.py']\n".into(), &0.into()), "{result}");
    assert_eq!(result["isolation"]["tier"], "default");
    assert!(!result["usage"]["peakMemoryBytes"].is_null());
    user.assert_nothing_left();
}

#[test]
fn the_limits_of_an_ordinary_user_hold() {
    if !require::root() {
        return;
    }
    let user = OrdinaryUser::with_cgroups();
    let hog = user.run(&["--memory", "64Mi", "-c", "x = bytearray(200 << 20)"]);
    assert_eq!(hog.code, 137, "{hog:?}");
    assert!(hog.verdict().starts_with("OutOfMemory"), "{hog:?}");

    let slow = user.run(&["--timeout", "0.5", "-c", "import time; time.sleep(60)"]);
    assert_eq!(slow.code, 124, "{slow:?}");
    let busy = user.run(&["--cpu-time", "0.3", "-c", "while True: pass"]);
    assert!(busy.code == 124 && busy.verdict().starts_with("CpuTimeLimit"), "{busy:?}");

    // ENOSPC comes at the effective limit, 64Mi, and the program goes on.
    let until_full = "import errno\ndone = 0\ntry:\n    with open('/work/file', 'wb', 0) as file:\n        \
                while True: done += file.write(bytes(1 << 20))\n\
                except OSError as error: print(errno.errorcode[error.errno], done >> 20)";
    let filled = user.run_json(&["--memory", "160Mi", "--disk", "64Mi", "-c", until_full]);
    let stdout = filled["stdout"].as_str().unwrap();
    let written: u32 = stdout.trim_end().strip_prefix("ENOSPC ").unwrap_or_else(|| panic!("{filled}")).parse().unwrap();
    assert!((56..=64).contains(&written), "{written} MiB");

    let fork = "import os, time\nmade = 0\ntry:\n    while made < 100:\n        if os.fork() == 0: time.sleep(60)\n        \
                made += 1\nexcept OSError as error: print(type(error).__name__, made)";
    let forks = user.run(&["--processes", "8", "-c", fork]);
    assert_eq!((forks.code, forks.stdout.as_str()), (0, "BlockingIOError 7\n"), "{forks:?}");
    user.assert_nothing_left();
}

#[test]
fn nothing_survives_the_death_of_an_ordinary_user_s_server() {
    if !require::root() {
        return;
    }
    let user = OrdinaryUser::with_cgroups();
    let code = "import os, time\nos.fork()\nos.fork()\nos.setsid() if os.getppid() > 1 else None\n\
                print('ready', flush=True)\ntime.sleep(600)";
    let mut running = user.start(&["-c", code]);
    running.wait_for("ready");
    let recorded = host::descendants(running.pid());
    assert!(user.processes().len() >= 5, "{recorded:?}");
    running.signal(Signal::KILL);
    assert_eq!(running.finish().code, 128 + 9);
    user.assert_nothing_left();

    for round in 0..10 {
        let running = user.start(&["-c", "import time; time.sleep(600)"]);
        std::thread::sleep(std::time::Duration::from_millis(round * 6));
        running.signal(Signal::KILL);
        running.finish();
    }
    user.assert_nothing_left();
    assert_eq!(user.run(&["-c", "print('next')"]).stdout, "next\n");
}

#[test]
fn interrupting_an_ordinary_user_s_server_leaves_nothing() {
    if !require::root() {
        return;
    }
    let user = OrdinaryUser::with_cgroups();
    let mut running = user.start(&["-c", "print('ready', flush=True)\nwhile True: pass"]);
    running.wait_for("ready");
    running.signal(Signal::INT);
    let outcome = running.finish();
    assert_eq!(outcome.code, 130, "{outcome:?}");
    user.assert_nothing_left();
}
