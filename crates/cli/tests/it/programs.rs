//! Where the program comes from, and odd ones.

use crate::{
    place::{Place, finish},
    require,
};

#[test]
fn a_program_comes_from_a_file_from_stdin_or_from_the_command_line() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "print('hello')";
    let file = place.program(code);
    assert_eq!(place.run(&[&file]).stdout, "hello\n");
    assert_eq!(place.run_with(&["-"], code.as_bytes()).stdout, "hello\n");
    assert_eq!(place.run(&["-c", code]).stdout, "hello\n");
    // Relative to the current folder.
    assert_eq!(place.run(&["program.py"]).stdout, "hello\n");
}

#[test]
fn stdin_is_forwarded_to_its_end() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "import sys, hashlib; data = sys.stdin.buffer.read(); print(len(data), sum(data))";
    let megabytes = vec![7_u8; 5 << 20];
    let outcome = place.run_with(&["-c", code], &megabytes);
    assert_eq!((outcome.code, outcome.stdout), (0, format!("{} {}\n", 5 << 20, 7 * (5 << 20))));
    // A program that does not read it is not held up, nor is one whose stdin is at its end at once.
    assert_eq!(place.run_with(&["-c", "print('done')"], &megabytes).stdout, "done\n");
    assert_eq!(place.run(&["-c", "print(repr(input()))"]).code, 1);
    // What came as the program is not also its input.
    assert_eq!(place.run_with(&["-"], b"import sys; print(repr(sys.stdin.read()))").stdout, "''\n");
}

#[test]
fn a_program_ends_though_stdin_stays_open() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let mut running = place.start(&["-c", "print('done')"]);
    let held = running.stdin.take();
    let outcome = running.finish();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "done\n"));
    drop(held);
}

#[test]
fn odd_programs_are_python_s_business() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let empty = place.run_with(&["-"], b"");
    assert_eq!((empty.code, empty.stdout.as_str(), empty.stderr.as_str()), (0, "", ""));
    assert_eq!(place.run(&["-c", ""]).code, 0);

    let broken = place.run_with(&["-"], b"print('\xff\xfe')");
    assert_eq!(broken.code, 1);
    assert!(broken.verdict().starts_with("Exception: SyntaxError in line 1: the program was not run"), "{broken:?}");

    // CPython before 3.11.4 ignores the rest of a line after a NUL character, later ones refuse it.
    let nul = place.run_with(&["-"], b"print('a')\0print('b')\n");
    assert_eq!((nul.code, nul.stdout.as_str()), (2, ""), "{nul:?}");
    assert!(nul.stderr.contains("NUL character"), "{nul:?}");

    let latin = place.run_with(&["-"], b"# -*- coding: latin-1 -*-\nprint(len('\xff'))\n");
    assert_eq!((latin.code, latin.stdout.as_str()), (0, "1\n"), "{latin:?}");
    let windows = place.run_with(&["-"], b"\xef\xbb\xbfprint('a')\r\nprint('b')\r\n");
    assert_eq!((windows.code, windows.stdout.as_str()), (0, "a\nb\n"), "{windows:?}");
    place.assert_next_works();
}

#[test]
fn a_program_may_be_large_but_not_boundless() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let mut large = b"print('start')\n#".to_vec();
    large.resize(999_986, b'x');
    large.extend(b"\nprint('end')\n");
    assert_eq!(large.len(), 1_000_000);
    let outcome = place.run(&[&place.program(&large)]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "start\nend\n"), "{outcome:?}");

    large.push(b'\n');
    let outcome = place.run(&[&place.program(&large)]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{outcome:?}");
    assert!(outcome.stderr.contains("1000001 characters, and 1000000 are allowed"), "{outcome:?}");
    let mut allowed = place.command(&["run", &place.program(&large)]);
    allowed.env("PythonSandbox__MaxCodeLength", "1000001");
    assert_eq!(finish(allowed, b"").code, 0);

    large.resize((16 << 20) + 1, b'\n');
    for outcome in [place.run(&[&place.program(&large)]), finish(place.command(&["run", "-"]), &large)] {
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{outcome:?}");
        assert!(outcome.stderr.contains("larger than 16Mi") && outcome.stderr.contains("hint: "), "{outcome:?}");
    }
    let endless = place.run(&["/dev/zero"]);
    assert_eq!(endless.code, 2, "{endless:?}");
    place.assert_next_works();
}
