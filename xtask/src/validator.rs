//! `cargo xtask bench validator`: how long it takes to read a program before it runs.

#[path = "../../crates/python/tests/hostile/programs.rs"]
mod programs;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use aevatar_sandbox::{ImportPolicy, ImportRules, PythonCodeValidator, PythonVersion};
use anyhow::{Context, ensure};

const PYTHON: &str = "/usr/bin/python3";
const ROUNDS: usize = 2_000;
/// Bytes of a hostile text: as long as a program may be.
const HOSTILE: usize = 1_000_000;

/// What people send.
const TYPICAL: &str = r#"import csv
import statistics
from collections import Counter, defaultdict
from pathlib import Path


def load(path: Path) -> list[dict[str, str]]:
    """Rows of a file, with names in lower case."""
    with path.open(newline="") as file:
        return [{key.lower(): value for key, value in row.items()} for row in csv.DictReader(file)]


def summarize(rows, by="city"):
    groups = defaultdict(list)
    for row in rows:
        try:
            groups[row[by]].append(float(row["price"]))
        except (KeyError, ValueError) as error:
            print(f"skipped {row!r}: {error}")
    return {name: (len(prices), statistics.mean(prices)) for name, prices in groups.items() if prices}


if __name__ == "__main__":
    rows = load(Path("data/sales.csv"))
    print(f"{len(rows)} rows")
    for name, (count, mean) in sorted(summarize(rows).items(), key=lambda item: -item[1][1]):
        print(f"{name:<20} {count:>5} {mean:10.2f}")
    words = Counter(word for row in rows for word in row.get("comment", "").split())
    print(words.most_common(10))
"#;

pub(crate) fn run() -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        // Only what is delivered is worth measuring.
        let arguments = ["run", "--release", "--quiet", "--package", "xtask", "--", "bench", "validator"];
        let measured = Command::new("cargo").args(arguments).status()?;
        ensure!(measured.success(), "the release build failed to measure");
        return Ok(());
    }

    let policy = ImportPolicy { allowed: vec!["numpy".to_owned()], blocked: ImportRules::default().blocked };
    let validator = PythonCodeValidator::default();
    let version = PythonVersion { major: 3, minor: 12, micro: 0 };
    let time = |code: &[u8]| {
        let start = Instant::now();
        let report = validator.validate(code, version, Some(&policy));
        (start.elapsed(), report)
    };
    let mut typical: Vec<Duration> = (0..ROUNDS).map(|_| time(TYPICAL.as_bytes()).0).collect();
    typical.sort_unstable();
    ensure!(time(TYPICAL.as_bytes()).1.is_valid, "the typical program is refused");
    let median = typical.get(ROUNDS / 2).copied().unwrap_or_default();

    let files = standard_library()?;
    let (mut bytes, mut took) = (0, Duration::ZERO);
    for file in &files {
        let code = fs_err::read(file)?;
        bytes += code.len();
        took += time(&code).0;
    }

    let mut hostile: Vec<(Duration, String)> =
        programs::programs(HOSTILE).into_iter().map(|(name, code)| (time(&code).0, name)).collect();
    hostile.sort();
    println!("| validator | |\n| --- | --- |");
    println!("| a program of {} lines, median of {ROUNDS} | {:.0} \u{b5}s |", TYPICAL.lines().count(), micros(median));
    println!("| the standard library, {} files | {:.0} MB/s |", files.len(), megabytes(bytes) / took.as_secs_f64());
    println!("| {} hostile texts of {HOSTILE} bytes, median | {:.0} ms |", hostile.len(), middle(&hostile));
    for (time, name) in hostile.iter().rev().take(3) {
        println!("| the slowest: {} | {:.0} ms |", name.replace('|', "\\|"), micros(*time) / 1000.0);
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn megabytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6
}

fn middle(times: &[(Duration, String)]) -> f64 {
    times.get(times.len() / 2).map_or(0.0, |(time, _)| micros(*time) / 1000.0)
}

/// The files of the standard library of this host's Python.
fn standard_library() -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new(PYTHON).args(["-I", "-c", "import os; print(os.path.dirname(os.__file__))"]).output()?;
    let root = String::from_utf8(output.stdout).context("no path")?;
    let mut folders = vec![Path::new(root.trim()).to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "py") {
                files.push(path);
            }
        }
    }
    ensure!(!files.is_empty(), "no standard library below {root}");
    files.sort();
    Ok(files)
}
