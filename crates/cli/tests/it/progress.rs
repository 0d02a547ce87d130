//! What a program tells of its progress.

use std::process::Command;

use crate::{
    place::{Outcome, Place, finish},
    require,
};

/// Runs a command on a terminal of its own, and writes what appears there to stdout.
const TERMINAL: &str = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

fn on_a_terminal(place: &Place, arguments: &[&str]) -> Outcome {
    let binary = place.binary();
    let mut terminal = Command::new("/usr/bin/python3");
    terminal.args(["-I", "-c", TERMINAL]).arg(binary).env("TERM", "xterm");
    finish(place.command_as(terminal, &[&["run"], arguments].concat()), b"")
}

#[test]
fn a_terminal_shows_a_bar_below_whole_lines_and_nothing_of_it_stays() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "
import sandbox, sys, time
sandbox.progress(0.4, 'fitting \\x1b[31m')
time.sleep(0.5)
print('a line')
print('a question? ', end='', flush=True)
sandbox.progress(0.75, 'asking')
time.sleep(0.5)
print('answered', file=sys.stderr)
time.sleep(0.5)
print('last')
";
    let outcome = on_a_terminal(&place, &["-c", code]);
    let (shown, code) = (outcome.stdout.as_str(), outcome.code);
    assert_eq!(code, 0, "{shown}");
    for text in [" 40% fitting  [31m", " 75% asking"] {
        assert!(shown.contains(text), "{text}: {shown:?}");
    }
    // Each time that the bar is drawn anew the line is cleared; what then stays is the program's.
    let lines = shown.split('\n').map(|line| line.trim_end_matches('\r').rsplit("\r\u{1b}[2K").next().unwrap());
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines, ["a line", "a question? answered", "last", ""], "{shown:?}");
    let question = shown.find("a question").unwrap();
    assert!(!shown[question..shown.find("answered").unwrap()].contains("asking"), "{shown:?}");
    place.assert_nothing_left(&[], &[]);
}

#[test]
fn elsewhere_than_on_a_terminal_nothing_is_shown() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "import sandbox, time; sandbox.progress(0.4, 'fitting'); time.sleep(0.3); print('done')";
    let outcome = place.run(&["-c", code]);
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, "done\n", ""));
    let shown = on_a_terminal(&place, &["--json", "-c", code]).stdout;
    assert!(shown.starts_with('{') && !shown.contains("fitting"), "{shown}");
    // A bar of its own is its output, and there is no second one.
    let code = "
import time
from tqdm import tqdm
for _ in tqdm(range(4), desc='own'):
    time.sleep(0.15)
";
    let shown = on_a_terminal(&place, &["-c", code]).stdout;
    assert!(shown.contains("own: 100%|") && !shown.contains("\u{1b}[2K"), "{shown:?}");
}

#[test]
fn the_module_is_there_whatever_may_be_imported_and_a_program_may_have_its_own() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "
import sys
assert not [name for name in sys.modules if name.startswith('sandbox')]
import importlib
import sandbox
from sandbox import progress
assert importlib.import_module('sandbox') is sandbox and progress(0.5, 'half') is None
import subprocess, multiprocessing
child = [sys.executable, '-c', 'import sandbox; sandbox.progress(0.5)']
print(subprocess.run(child, check=True).returncode)
with multiprocessing.get_context('fork').Pool(2) as pool:
    print(pool.map(progress, [0.1, 0.2, 0.3]))
";
    for policy in ["enforce", "off"] {
        let outcome = place.run(&["--import-policy", policy, "-c", code]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "0\n[None, None, None]\n"), "{outcome:?}");
    }
    let own = "open('sandbox.py', 'w').write('value = 1')\nimport sandbox; print(sandbox.value)";
    assert_eq!(place.run(&["-c", own]).stdout, "1\n");
    let mut blocked = place.command(&["run", "-c", "import sandbox"]);
    blocked.env("PythonSandbox__BlockedModules__0", "sandbox");
    assert_eq!(finish(blocked, b"").code, 126);
}

#[test]
fn a_flood_of_reports_changes_nothing_and_the_exception_behind_it_is_told() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "
import os, sandbox
line = b'{\"progress\": {\"fraction\": 0.5, \"message\": \"x\"}}\\n' * 10_000
for _ in range(50):
    os.write(3, line)
for _ in range(100_000):
    sandbox.progress(0.5, 'x' * 1000)
os.write(3, b'{\"progress\": {\"message\": \"' + b'x' * 10_000_000 + b'\"}}\\n')
os.write(3, b'{\"error\": {\"name\": \"' + b'x' * 10_000_000 + b'\"}}\\n')
os.write(3, b'{\"error\": ' + b'[' * 100_000)
print('all written', flush=True)
{}['missing']
";
    let result = place.run_json(&["-c", code]);
    assert_eq!((&result["stdout"], &result["exitCode"]), (&"all written\n".into(), &1.into()), "{result}");
    assert_eq!(result["termination"]["reason"], "Exception", "{result}");
    let error = &result["error"];
    assert_eq!((&error["name"], &error["line"]), (&"KeyError".into(), &12.into()), "{result}");
    place.assert_next_works();
}
