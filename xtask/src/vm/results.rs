//! What came out of a guest: every case that was to run, and what became of it.

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use anyhow::{Context, ensure};
use fs_err as fs;
use serde_json::Value;

use super::plan::Step;

/// What became of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped(String),
    Failed,
    /// It was listed or asked for, and said nothing.
    Silent,
}

/// Cases of all steps.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Counted as failed, too.
    silent: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.silent += other.silent;
    }

    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Silent => {
                self.failed += 1;
                self.silent += 1;
            }
        }
    }

    pub(crate) const fn are_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)?;
        if self.silent > 0 {
            write!(formatter, " ({} of the failed did not report)", self.silent)?;
        }
        Ok(())
    }
}

/// One step's cases.
#[derive(Debug)]
struct StepReport {
    name: &'static str,
    cases: BTreeMap<String, Outcome>,
    /// Its last words, where something went wrong.
    trouble: Option<String>,
    /// What it told beside the cases: layers and limits.
    told: Vec<String>,
    seconds: f64,
}

/// Everything of one boot.
#[derive(Debug)]
pub(super) struct Report {
    facts: Value,
    steps: Vec<StepReport>,
}

/// Reads the folder that the driver has filled.
pub(super) fn read(folder: &Path, plan: &[Step]) -> anyhow::Result<Report> {
    let facts = fs::read_to_string(folder.join("facts.json"))
        .context("the driver did not begin: look at the console's log beside the results")?;
    let facts = serde_json::from_str(&facts).context("the driver's facts are broken")?;
    let mut steps = Vec::new();
    for (number, step) in plan.iter().enumerate() {
        steps.push(read_step(&folder.join(format!("{number:02}")), step));
    }
    ensure!(!steps.is_empty(), "the plan is empty");
    Ok(Report { facts, steps })
}

fn read_step(folder: &Path, step: &Step) -> StepReport {
    let read = |name: &str| -> String {
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (list, stdout, stderr) = (read("list"), read("stdout"), read("stderr"));
    let mut cases = outcomes(&list, &stdout, &stderr);
    for name in step.only.iter().flatten() {
        cases.entry(name.clone()).or_insert(Outcome::Silent);
    }
    let ended: Value = serde_json::from_str(&read("ended.json")).unwrap_or_default();
    let good = |outcome: &Outcome| matches!(outcome, Outcome::Passed | Outcome::Skipped(_));
    let mut trouble = None;
    if cases.is_empty() || ended["exit"] != 0 || !cases.values().all(good) {
        trouble = Some(format!(
            "exit: {}\n{}\n{}\n{}",
            ended["exit"],
            read("list-errors"),
            failures(&stdout),
            tail(&stderr, 200)
        ));
        // Without this, a runner that dies after its last case would pass.
        if cases.values().all(good) {
            cases.insert(format!("({} ended well)", step.name), Outcome::Failed);
        }
    }
    let told = stdout.lines().filter(|line| line.starts_with("  ")).map(|line| line.trim().to_owned());
    let told = if stdout.contains("\nfailures:") { Vec::new() } else { told.collect() };
    StepReport { name: step.name, cases, trouble, told, seconds: ended["seconds"].as_f64().unwrap_or_default() }
}

/// From what a test runner listed and printed, to what became of each case.
fn outcomes(list: &str, stdout: &str, stderr: &str) -> BTreeMap<String, Outcome> {
    let listed = list.lines().filter_map(|line| line.strip_suffix(": test"));
    let mut cases: BTreeMap<String, Outcome> = listed.map(|name| (name.to_owned(), Outcome::Silent)).collect();
    for line in stdout.lines() {
        // Of two threads that print at once, one may begin in the middle of the other's line.
        let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) else {
            continue;
        };
        let outcome = match outcome.trim() {
            "ok" => Outcome::Passed,
            text if text.starts_with("ignored") => {
                let reason = text.trim_start_matches("ignored").trim_start_matches([',', ' ']);
                let bare = reason.strip_prefix('(').and_then(|reason| reason.strip_suffix(')'));
                let reason = bare.unwrap_or(reason).to_owned();
                if reason.is_empty() { Outcome::Failed } else { Outcome::Skipped(reason) }
            }
            _ => Outcome::Failed,
        };
        cases.insert(name.trim().to_owned(), outcome);
    }
    // The integration tests return early, and say so.
    for line in stderr.lines() {
        if let Some((name, reason)) = line.strip_prefix("skipped ").and_then(|rest| rest.split_once(": "))
            && let Some(outcome) = cases.get_mut(name)
            && *outcome == Outcome::Passed
        {
            *outcome = Outcome::Skipped(reason.to_owned());
        }
    }
    cases
}

/// The part of a runner's output that explains failures.
fn failures(stdout: &str) -> &str {
    stdout.find("\nfailures:").map_or("", |start| &stdout[start..])
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

impl Report {
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for outcome in self.steps.iter().flat_map(|step| step.cases.values()) {
            counts.count(outcome);
        }
        counts
    }

    /// Every case, then what is remarkable, then the numbers.
    pub(super) fn print(&self, release: &str, set: &str, took: Duration) {
        let fact = |name: &str| match &self.facts[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        println!("\n== {release}, {set} set: {}, Linux {}", fact("system"), fact("kernel"));
        println!("cgroups {} ({}), of the user: {}", fact("cgroups"), fact("controllers"), fact("user_controllers"));
        println!("systemd {}, CPython {}", fact("systemd"), fact("python"));
        println!("Landlock ABI {}, modules: {}", fact("landlock"), fact("lsm"));
        for step in &self.steps {
            println!("-- {}", step.name);
            for (name, outcome) in &step.cases {
                match outcome {
                    Outcome::Passed => println!("test {name} ... ok"),
                    Outcome::Skipped(reason) => println!("test {name} ... skipped: {reason}"),
                    Outcome::Failed => println!("test {name} ... FAILED"),
                    Outcome::Silent => println!("test {name} ... DID NOT REPORT"),
                }
            }
            for line in &step.told {
                println!("   {line}");
            }
            if let Some(trouble) = &step.trouble {
                println!("{trouble}");
            }
        }
        println!("== {release}, {set} set, Linux {}: {} in {took:.0?}", fact("kernel"), self.counts());
        for step in &self.steps {
            let mut counts = Counts::default();
            step.cases.values().for_each(|outcome| counts.count(outcome));
            println!("   {:<14} {counts} in {:.0} s", step.name, step.seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_that_was_listed_has_an_outcome() {
        let list = "a: test\nb: test\nc: test\nd: test\ne: test\n";
        let stdout = "running 5 tests\ntest a ... ok\ntest b ... FAILED\ntest c  ... ignored (needs root (uid 0))\n\
                      test d ... ok\nd has been running for over 60 seconds\n";
        let cases = outcomes(list, stdout, "skipped d: this test needs root\nskipped nobody: x\n");
        let expected = [
            ("a", Outcome::Passed),
            ("b", Outcome::Failed),
            ("c", Outcome::Skipped("needs root (uid 0)".to_owned())),
            ("d", Outcome::Skipped("this test needs root".to_owned())),
            ("e", Outcome::Silent),
        ];
        assert_eq!(cases, expected.map(|(name, outcome)| (name.to_owned(), outcome)).into());
    }

    #[test]
    fn a_case_that_is_ignored_without_a_reason_is_a_failure() {
        assert_eq!(outcomes("a: test", "test a ... ignored\n", "")["a"], Outcome::Failed);
    }

    #[test]
    fn a_silent_case_is_no_success() {
        let mut counts = Counts { passed: 5, ..Counts::default() };
        assert!(counts.are_good());
        counts.count(&Outcome::Silent);
        assert!(!counts.are_good());
        assert!(!Counts::default().are_good());
    }
}
