//! What is run in a guest, and by whom.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// The smoke set: `STEP CASE`, or `STEP *` for all cases of a step.
const SMOKE: &str = include_str!("../../../tests/vm/smoke.txt");

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// What `tests/vm/smoke.txt` names.
    Smoke,
    /// Everything.
    Full,
}

impl Set {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Full => "full",
        }
    }

    /// For the whole boot.
    pub(super) const fn time_limit(self) -> Duration {
        match self {
            Self::Smoke => Duration::from_mins(18),
            Self::Full => Duration::from_hours(4),
        }
    }
}

/// One program with cases, run by one user.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    user: &'static str,
    program: &'static [&'static str],
    /// Whether names of cases are arguments; else they are a variable.
    takes_filters: bool,
    threads: u32,
    /// Only these cases.
    pub(super) only: Option<Vec<String>>,
}

/// The corpora without their repetition with the import policy: the kernel sees the same programs. Over HTTP they start
/// warm, which is another way to it.
const CORPUS: [&str; 3] = ["bin/corpus", "--skip", "policy::"];

const PYTHON: &str = "/usr/bin/python3";

/// All steps in their order.
fn steps() -> [Step; 6] {
    let step =
        |name, user, program, takes_filters, threads| Step { name, user, program, takes_filters, threads, only: None };
    [
        step("stock", "root", &[PYTHON, "-B", "guest/stock.py"], false, 1),
        step("service", "root", &[PYTHON, "-B", "guest/service.py"], false, 1),
        step("root-it", "root", &["bin/it"], true, 2),
        step("tester-it", "tester", &["bin/it"], true, 2),
        step("root-corpus", "root", &CORPUS, false, 2),
        step("tester-corpus", "tester", &CORPUS, false, 2),
    ]
}

impl Step {
    /// As tests/vm/guest/driver.py reads it.
    pub(super) fn for_driver(&self) -> Value {
        json!({
            "name": self.name,
            "user": self.user,
            "program": self.program,
            "filters": self.takes_filters,
            "threads": self.threads,
            "only": self.only,
            "timeout": Set::Full.time_limit().as_secs(),
        })
    }
}

/// The steps of a set, or of `cases` if there are any.
pub(super) fn plan(set: Set, cases: &[String]) -> anyhow::Result<Vec<Step>> {
    match set {
        _ if !cases.is_empty() => select(&cases.join("\n")),
        Set::Full => Ok(steps().into()),
        Set::Smoke => select(SMOKE),
    }
}

/// How many cases the smoke set names, at least.
pub(crate) fn smoke_size() -> u64 {
    SMOKE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count() as u64
}

fn select(list: &str) -> anyhow::Result<Vec<Step>> {
    let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (step, case) = line.split_once(' ').with_context(|| format!("no step and case: {line}"))?;
        wanted.entry(step).or_default().push(case);
    }
    let mut selected = Vec::new();
    for mut step in steps() {
        let Some(cases) = wanted.remove(step.name) else { continue };
        if !cases.contains(&"*") {
            step.only = Some(cases.into_iter().map(str::to_owned).collect());
        }
        selected.push(step);
    }
    ensure!(wanted.is_empty(), "there are no steps {:?}", wanted.keys());
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smoke_set_names_steps_that_are_there() {
        let steps = plan(Set::Smoke, &[]).unwrap();
        assert!(steps.iter().any(|step| step.name == "stock" && step.only.is_none()));
        assert!(smoke_size() > 30);
        assert!(select("nobody attack::files/host_file").is_err());
    }

    #[test]
    fn a_selection_keeps_the_order_of_steps_and_their_cases() {
        let steps = select("# comment\n\nroot-corpus b\nservice *\nroot-corpus a\n").unwrap();
        let names: Vec<_> = steps.iter().map(|step| step.name).collect();
        assert_eq!(names, ["service", "root-corpus"]);
        assert_eq!(steps[1].only.as_deref(), Some(&["b".to_owned(), "a".to_owned()][..]));
    }
}
