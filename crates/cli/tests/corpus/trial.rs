//! What an attack comes to in a sandbox that lacks layers.

use std::{collections::BTreeSet, path::Path};

use crate::{
    attack::{self, Trial},
    canary::Canaries,
    expectation::OneOrMore,
    header::{self, Attack},
    sandbox::{Answer, Engine, Policy},
};

/// The outcome of one attack.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It makes no sense on this architecture.
    NotHere,
    /// It failed, exactly as its header says.
    Held,
    /// It failed in another way.
    Otherwise(String),
    /// A part of it came out as outside of any sandbox.
    Partly(String),
    /// It came out as outside of any sandbox, or did harm.
    Succeeded(String),
}

pub(crate) fn run(path: &Path, engine: &Engine) -> Result<Verdict, String> {
    let attack: Attack = header::read(path, "attack")?;
    if attack.machine.as_ref().is_some_and(|machine| machine != std::env::consts::ARCH) {
        return Ok(Verdict::NotHere);
    }
    let mut canaries = Canaries::plant(|program| engine.command_of_caller(program))?;
    match attack::run_inside(path, &attack, engine, &mut canaries, Policy::Off) {
        Ok(trial) => Ok(judge(&attack, &canaries, &trial)),
        Err(error) if UNENDED.iter().any(|sign| error.contains(sign)) => {
            Ok(Verdict::Succeeded("it could not be ended".to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// By these the sandbox, or this runner, says that something of the program went on.
const UNENDED: [&str; 2] = ["its cgroup stays busy", "still running after"];

fn judge(attack: &Attack, canaries: &Canaries, trial: &Trial) -> Verdict {
    if !trial.harm.is_empty() {
        return Verdict::Succeeded(trial.harm.join("; "));
    }
    if trial.differences.is_empty() {
        return Verdict::Held;
    }
    let words = trial.differences.join();
    let Answer::Ran(inside) = &trial.answer else { return Verdict::Otherwise(words) };
    let control = attack.control.stdout.iter().flat_map(OneOrMore::as_slice);
    let control: Vec<String> = control.map(|text| canaries.expand(text)).collect();
    let expected: Vec<&str> = attack.inside.as_slice().iter().filter_map(|inside| inside.stdout.as_deref()).collect();
    compare(&control, &expected.join("\n"), &inside.result.stdout).unwrap_or(Verdict::Otherwise(words))
}

/// By what the attack printed: outside, inside with all layers, and now. Nothing when it got no further than inside.
fn compare(outside: &[String], inside: &str, now: &str) -> Option<Verdict> {
    let (inside, now) = (statements(inside), statements(now));
    let further = |outside: &BTreeSet<String>| {
        let further: Vec<String> = now.intersection(outside).filter(|line| !inside.contains(*line)).cloned().collect();
        (!further.is_empty()).then(|| further.join(", "))
    };
    let outside: Vec<BTreeSet<String>> = outside.iter().map(|text| statements(text)).collect();
    if let Some(same) = outside.iter().find(|outside| **outside == now) {
        return further(same).map(Verdict::Succeeded);
    }
    outside.iter().find_map(further).map(Verdict::Partly)
}

/// What a program said: its lines. A line of an errno and the calls that gave it is one statement for each call.
fn statements(text: &str) -> BTreeSet<String> {
    let split = |line: &str| -> Vec<String> {
        match line.split_once(' ') {
            Some((errno, calls))
                if errno.len() > 2 && errno.starts_with('E') && errno.chars().all(char::is_uppercase) =>
            {
                calls.split(' ').map(|call| format!("{errno} {call}")).collect()
            }
            _ => vec![line.trim_end().to_owned()],
        }
    };
    text.trim_end_matches('\n').lines().flat_map(split).collect()
}
