//! Exit codes, the verdict line, the JSON object, arguments.

use crate::{
    place::{Outcome, Place, finish},
    require,
};

#[test]
fn exit_codes_tell_how_the_program_ended() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let kill = |signal: i32| format!("import os; os.kill(os.getpid(), {signal})");
    let (terminate, crash) = (kill(15), kill(11));
    let cases: [(&[&str], i32, &str); 13] = [
        (&["-c", "import sys; sys.exit(3)"], 3, "Exited: the program ended with exit code 3"),
        (&["-c", "import sys; sys.exit(255)"], 255, "Exited: "),
        (&["-c", "import os; os._exit(7)"], 7, "Exited: "),
        (&["-c", "raise SystemExit('bye')"], 1, "Exited: "),
        (&["-c", "\n1 / 0"], 1, "Exception: uncaught ZeroDivisionError in line 2"),
        (&["-c", "x = ("], 1, "Exception: SyntaxError in line 1: the program was not run"),
        (&["-c", &terminate], 128 + 15, "Signal: ended by signal 15 (SIGTERM)"),
        (&["-c", &crash], 128 + 11, "Signal: ended by signal 11 (SIGSEGV)"),
        (&["--timeout", "0.5", "-c", "import time; time.sleep(60)"], 124, "WallTimeLimit: "),
        (&["--cpu-time", "0.3", "-c", "while True: pass"], 124, "CpuTimeLimit: "),
        (&["--memory", "64Mi", "-c", "x = bytearray(200 << 20)"], 137, "OutOfMemory: "),
        // A program that claims our exit codes is not believed to be our fault: the verdict tells.
        (&["-c", "import sys; sys.exit(125)"], 125, "Exited: "),
        (&["-c", "import sys; sys.exit(124)"], 124, "Exited: "),
    ];
    for (arguments, code, verdict) in cases {
        let outcome = place.run(arguments);
        assert_eq!(outcome.code, code, "{arguments:?}: {outcome:?}");
        assert!(outcome.verdict().starts_with(verdict), "{arguments:?}: {outcome:?}");
        let verdicts = outcome.stderr.lines().filter(|line| line.starts_with("aevatar-sandbox: ")).count();
        assert_eq!(verdicts, 1, "{outcome:?}");
    }
    place.assert_next_works();
}

#[test]
fn plain_success_says_nothing_of_its_own() {
    if !require::default_tier() {
        return;
    }
    let outcome = Place::new().run(&["-c", "import sys; print('out'); print('err', file=sys.stderr)"]);
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, "out\n", "err\n"));
}

#[test]
fn the_verdict_line_names_the_usage() {
    if !require::default_tier() {
        return;
    }
    let outcome = Place::new().run(&["-c", "raise SystemExit(9)"]);
    let verdict = outcome.verdict();
    for part in ["wall ", "CPU ", "memory ", "MiB"] {
        assert!(verdict.contains(part), "{verdict}");
    }
}

#[test]
fn nonsense_is_a_usage_error_that_names_it() {
    let place = Place::new();
    let cases: [(&[&str], &str); 22] = [
        (&["--memory", "100 apples"], "100 apples"),
        (&["--memory", "-1"], "-1"),
        (&["--memory", "1Mi"], "16Mi"),
        (&["--memory", "99999999999999999999Ei"], "99999999999999999999Ei"),
        (&["--memory", ""], "--memory"),
        (&["--cpu", "-5m"], "-5"),
        (&["--cpu=-5m"], "-5m"),
        (&["--cpu", "0"], "`0`"),
        (&["--cpu", "NaN"], "NaN"),
        (&["--disk", "1"], "1Mi"),
        (&["--disk", "lots"], "lots"),
        (&["--timeout", "0"], "above 0"),
        (&["--timeout=-1"], "above 0"),
        (&["--timeout", "inf"], "above 0"),
        (&["--timeout", "soon"], "soon"),
        (&["--timeout", "9999999"], "24 hours"),
        (&["--cpu-time", "0"], "above 0"),
        (&["--processes", "0"], "out of range"),
        (&["--processes", "40000"], "out of range"),
        (&["--processes", "many"], "many"),
        (&["--isolation", "none"], "none"),
        (&["--no-such-flag"], "--no-such-flag"),
    ];
    for (flags, named) in cases {
        let outcome = place.run(&[flags, &["-c", "print('ran')"]].concat());
        assert_usage_error(&outcome, named);
    }
    assert_usage_error(&place.run(&[]), "FILE");
    assert_usage_error(&place.run(&["/no/such/program.py"]), "/no/such/program.py");
    assert_usage_error(&place.run(&["/tmp"]), "/tmp");
    assert_usage_error(&finish(place.command(&["dance"]), b""), "dance");
}

fn assert_usage_error(outcome: &Outcome, named: &str) {
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{named}: {outcome:?}");
    assert!(outcome.stderr.starts_with("error: ") && outcome.stderr.contains(named), "{named}: {outcome:?}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
}

#[test]
fn our_own_refusal_is_125_with_a_hint() {
    let outcome = Place::new().run(&["--environment", "nope", "-c", "print('ran')"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (125, ""), "{outcome:?}");
    assert!(outcome.stderr.starts_with("error: there is no environment `nope`\nhint: "), "{outcome:?}");
}

#[test]
fn json_is_one_object_and_nothing_else() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "import sys; print('出'); print('err', file=sys.stderr); 1 / 0";
    let outcome = place.run(&["--json", "-c", code]);
    assert_eq!((outcome.code, outcome.stdout.lines().count()), (1, 1), "{outcome:?}");
    let result = outcome.json();
    assert_eq!(result["status"], "Failed");
    assert_eq!(result["exitCode"], 1);
    assert_eq!(result["stdout"], "出\n");
    assert!(result["stderr"].as_str().unwrap().starts_with("err\nTraceback"), "{result}");
    assert_eq!(result["termination"]["reason"], "Exception");
    assert_eq!(result["error"]["name"], "ZeroDivisionError");
    assert_eq!(result["error"]["line"], 1);
    assert_eq!(result["isolation"]["tier"], "default");
    assert_eq!(result["start"], serde_json::json!({ "path": "cold" }), "there is nothing that it could be forked from");
    assert_eq!(place.run_json(&["-c", ""])["status"], "Completed");
    let timed_out = place.run(&["--json", "--timeout", "0.3", "-c", "import time; time.sleep(60)"]);
    assert_eq!(timed_out.code, 124);
    assert_eq!(timed_out.json()["status"], "TimedOut");
}

#[test]
fn arguments_reach_the_program_as_they_are() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "import sys; print(sys.argv[1:])";
    let file = place.program(code);
    let wild = ["-x", "--json", "--timeout", "0", "--", "a b", "", "日本", "-"];
    let printed = "['-x', '--json', '--timeout', '0', '--', 'a b', '', '日本', '-']\n";
    let after_file = place.run(&[&[file.as_str()], &wild[..]].concat());
    assert_eq!((after_file.code, after_file.stdout.as_str()), (0, printed), "{after_file:?}");
    let after_code = place.run(&[&["-c", code, "--"], &wild[..]].concat());
    assert_eq!((after_code.code, after_code.stdout.as_str()), (0, printed), "{after_code:?}");
    let plain = place.run(&["-c", code, "first", "-x"]);
    assert_eq!((plain.code, plain.stdout.as_str()), (0, "['first', '-x']\n"), "{plain:?}");
    let too_many = "x".repeat(100 << 10);
    assert_usage_error(&place.run(&["-c", code, &too_many]), "64 KiB");
}
