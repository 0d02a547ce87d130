//! What a test needs of the host and of its user.

use std::{io::Write, sync::OnceLock};

use crate::place::Place;

/// Whether the default tier works for the current user. If not, the test is skipped.
pub(crate) fn default_tier() -> bool {
    static WORKS: OnceLock<Result<(), String>> = OnceLock::new();
    let works = WORKS.get_or_init(|| {
        let hello = Place::new().run(&["-c", "print('hello')"]);
        if hello.code == 0 { Ok(()) } else { Err(format!("the default tier does not work here: {}", hello.stderr)) }
    });
    or_skip(works.clone())
}

/// Whether this is root, with the default tier. If not, the test is skipped.
pub(crate) fn root() -> bool {
    let is_root = rustix::process::getuid().is_root();
    or_skip(if is_root { Ok(()) } else { Err("this test needs root".to_owned()) }) && default_tier()
}

/// Tells why a test is skipped, past the capture of the test harness.
pub(crate) fn or_skip(outcome: Result<(), String>) -> bool {
    let Err(reason) = outcome else { return true };
    let strict = std::env::var("SANDBOX_REQUIRE").is_ok_and(|value| value == "all");
    assert!(!strict, "SANDBOX_REQUIRE=all: {reason}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    false
}
