//! Runs the two corpora in `tests/corpus` through the real binary: attacks must fail, honest programs must work.
//!
//! Each attack runs three times: outside the sandbox, where it must succeed (the positive control); inside, where it
//! must fail exactly as its header says; and then a harmless program, which must still work. Before, the runner plants
//! canaries: secrets in a file, in the environment, in open descriptors, behind sockets and in another process. None
//! of them may appear anywhere in what comes out of the sandbox.
//!
//! That is without the import policy, which is a courtesy: the kernel alone must hold. With it (`policy::…`), attacks
//! must fail in the same way or be refused, and honest programs must not notice it.
//!
//! Everything runs once more over HTTP through a server (`http::…`), whose interpreters are warm: that no program starts
//! cold there is part of each trial. The command line always starts cold.
//!
//! As root everything runs a second time as an ordinary user with cgroups of its own (with the policy, a sample). What
//! cannot be tested on this host is ignored with its reason; `SANDBOX_REQUIRE=all` makes that a failure.
//! `SANDBOX_TEST_ONLY` may list trials to run, one a line.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    reason = "a test program without a harness: a broken corpus ends it, and its last words go to the terminal"
)]

#[path = "corpus/attack.rs"]
mod attack;
#[path = "corpus/canary.rs"]
mod canary;
#[path = "corpus/door.rs"]
mod door;
#[path = "corpus/expectation.rs"]
mod expectation;
#[path = "corpus/header.rs"]
mod header;
#[path = "corpus/honest.rs"]
mod honest;
#[path = "corpus/ordinary_user.rs"]
mod ordinary_user;
#[path = "corpus/process.rs"]
mod process;
#[path = "corpus/programs.rs"]
mod programs;
#[path = "corpus/sandbox.rs"]
mod sandbox;
#[path = "corpus/site.rs"]
#[expect(dead_code, reason = "the integration tests find more by it")]
mod site;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::sandbox::{Caller, Policy, Sandbox};

/// Of so many programs an ordinary user runs one with the import policy.
const SAMPLE: usize = 8;

/// What became of one trial that did not fail.
pub(crate) enum Outcome {
    Passed,
    /// Nothing was found wrong, but this host cannot prove it.
    Unproven(String),
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let corpus = site::corpus();
    let mounts = count_mounts();
    let mut callers = vec![("", Caller::CurrentUser)];
    if rustix::process::getuid().is_root() {
        callers.push(("as_ordinary_user::", Caller::OrdinaryUser));
    }
    let mut trials = Vec::new();
    for (prefix, caller) in callers {
        let sandbox = Arc::new(Sandbox::new(caller));
        // What the policy does depends on the caller in nothing but the files of the root.
        let every = if prefix.is_empty() { 1 } else { SAMPLE };
        for (number, path) in programs::below(&corpus.join("attacks")).into_iter().enumerate() {
            let name = programs::name(&corpus, &path);
            if number % every == 0 {
                let (path, sandbox) = (path.clone(), Arc::clone(&sandbox));
                trials.push(Trial::ignorable_test(format!("{prefix}policy::{name}"), move || {
                    conclude(attack::run_again(&path, &sandbox, Policy::Enforced))
                }));
            }
            let sandbox = Arc::clone(&sandbox);
            trials
                .push(Trial::ignorable_test(format!("{prefix}{name}"), move || conclude(attack::run(&path, &sandbox))));
        }
        for (number, path) in programs::below(&corpus.join("honest")).into_iter().enumerate() {
            let name = programs::name(&corpus, &path);
            for (policy, mark) in [(Policy::Off, ""), (Policy::Enforced, "policy::")] {
                if policy == Policy::Enforced && number % every != 0 {
                    continue;
                }
                let (path, sandbox) = (path.clone(), Arc::clone(&sandbox));
                trials.push(Trial::ignorable_test(format!("{prefix}{mark}{name}"), move || {
                    conclude(honest::run(&path, &sandbox, policy))
                }));
            }
        }
    }
    let mut doors = vec![("http::", Caller::OverHttp)];
    if rustix::process::getuid().is_root() {
        doors.push(("http::as_ordinary_user::", Caller::OrdinaryUserOverHttp));
    }
    for (prefix, caller) in doors {
        let door = Arc::new(Sandbox::new(caller));
        let programs = [programs::below(&corpus.join("attacks")), programs::below(&corpus.join("honest"))];
        for path in programs.into_iter().flatten() {
            let (name, door) = (programs::name(&corpus, &path), Arc::clone(&door));
            let is_attack = name.starts_with("attack::");
            trials.push(Trial::ignorable_test(format!("{prefix}{name}"), move || {
                if std::fs::read_to_string(&path).is_err() {
                    return conclude(Ok(Outcome::Unproven(
                        "JSON is text, and this program is not in UTF-8".to_owned(),
                    )));
                }
                conclude(if is_attack {
                    attack::run_again(&path, &door, Policy::Off)
                } else {
                    honest::run(&path, &door, Policy::Off)
                })
            }));
        }
    }
    select(&mut trials);
    // The trials own the sandboxes: when they have run, everything that was made for them is removed again.
    let conclusion = libtest_mimic::run(&arguments, trials);
    if count_mounts() != mounts {
        eprintln!("the host has {} mounts now, and had {mounts} before", count_mounts());
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// Keeps the trials that `SANDBOX_TEST_ONLY` names, one a line, if it is set.
fn select(trials: &mut Vec<Trial>) {
    let Ok(only) = std::env::var("SANDBOX_TEST_ONLY") else { return };
    for name in only.lines() {
        assert!(trials.iter().any(|trial| trial.name() == name), "SANDBOX_TEST_ONLY: there is no trial {name}");
    }
    trials.retain(|trial| only.lines().any(|name| name == trial.name()));
}

fn conclude(result: Result<Outcome, String>) -> Result<Completion, Failed> {
    match result? {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Unproven(reason) if std::env::var("SANDBOX_REQUIRE").is_ok_and(|value| value == "all") => {
            Err(format!("SANDBOX_REQUIRE=all: {reason}").into())
        }
        Outcome::Unproven(reason) => Ok(Completion::ignored_with(reason)),
    }
}

fn count_mounts() -> usize {
    std::fs::read_to_string("/proc/self/mountinfo").map_or(0, |text| text.lines().count())
}
