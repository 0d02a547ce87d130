//! Runs the attacks of `tests/corpus` in a sandbox that lacks layers, and tells what each comes to.
//!
//! Only with the feature `layer-trials`; `cargo xtask layers` runs it once for each layer, and makes the table in
//! docs/threat-model.md of what it prints: one JSON object a line. `AEVATAR_SANDBOX_WITHOUT_LAYERS` names the layers
//! that are left out, and `SANDBOX_TEST_ONLY` the attacks to run, one a line.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of the tests: a broken corpus ends it, and what it prints is its result"
)]

#[path = "corpus/attack.rs"]
#[expect(dead_code, reason = "the corpora use more of it")]
mod attack;
#[path = "corpus/canary.rs"]
mod canary;
#[path = "corpus/door.rs"]
mod door;
#[path = "corpus/expectation.rs"]
mod expectation;
#[path = "corpus/header.rs"]
#[expect(dead_code, reason = "no honest programs here")]
mod header;
#[path = "corpus/ordinary_user.rs"]
mod ordinary_user;
#[path = "corpus/process.rs"]
mod process;
#[path = "corpus/programs.rs"]
mod programs;
#[path = "corpus/sandbox.rs"]
#[expect(dead_code, reason = "one caller only")]
mod sandbox;
#[path = "corpus/site.rs"]
#[expect(dead_code, reason = "the integration tests find more by it")]
mod site;
#[path = "corpus/trial.rs"]
mod trial;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;

use crate::{
    canary::Canaries,
    sandbox::{Caller, Engine, Sandbox},
};

/// As the corpora have it.
#[expect(dead_code, reason = "here an attack has a verdict instead")]
pub(crate) enum Outcome {
    Passed,
    Unproven(String),
}

/// Attacks that run at once.
const THREADS: usize = 2;

fn main() -> ExitCode {
    // A sandbox without a network namespace is in this process's.
    if std::fs::read_to_string("/proc/net/route").map_or(0, |routes| routes.lines().count()) > 1 {
        return fail("there is a way out of this network: start the trial with `cargo xtask layers`");
    }
    let corpus = site::corpus();
    let sandbox = Sandbox::new(Caller::CurrentUser);
    let engine = match sandbox.engine() {
        Ok(engine) => engine,
        Err(error) => return fail(&error),
    };
    // What lacks a layer must still be a sandbox that works, or an attack would fail for no reason of interest.
    let canaries = Canaries::plant(|program| engine.command_of_caller(program));
    if let Err(error) = canaries.and_then(|canaries| attack::run_hello(engine, &canaries)) {
        return fail(&error);
    }
    let mut attacks = programs::below(&corpus.join("attacks"));
    if let Ok(only) = std::env::var("SANDBOX_TEST_ONLY") {
        attacks.retain(|path| only.lines().any(|name| name == bare_name(&corpus, path)));
    }
    let (queue, failed) = (Mutex::new(attacks.into_iter()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(path) = next(&queue) {
                    if let Err(error) = tell(&path, engine, &corpus) {
                        eprintln!("{}: {error}", path.display());
                        failed.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    if failed.load(Ordering::SeqCst) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn next(queue: &Mutex<std::vec::IntoIter<PathBuf>>) -> Option<PathBuf> {
    queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next()
}

/// `files/host_file`.
fn bare_name(corpus: &Path, path: &Path) -> String {
    programs::name(corpus, path).trim_start_matches("attack::").to_owned()
}

fn tell(path: &Path, engine: &Engine, corpus: &Path) -> Result<(), String> {
    let (kind, words) = match trial::run(path, engine)? {
        trial::Verdict::NotHere => return Ok(()),
        trial::Verdict::Held => ("held", String::new()),
        trial::Verdict::Otherwise(words) => ("otherwise", words),
        trial::Verdict::Partly(words) => ("partly", words),
        trial::Verdict::Succeeded(words) => ("succeeded", words),
    };
    println!("{}", json!({ "attack": bare_name(corpus, path), "outcome": kind, "words": words }));
    Ok(())
}
