//! `cargo xtask bench`: the cold path beside plain Python and beside bubblewrap, taking turns in one run.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

const ROUNDS: usize = 60;
const WARM_UP: usize = 3;
const PYTHON: &str = "/usr/bin/python3";

/// What is run: a name, and the program.
const PROGRAMS: [(&str, &str); 1] = [("hello", "print('hello')")];

pub(crate) fn run() -> anyhow::Result<()> {
    ensure!(Path::new("/usr/bin/bwrap").exists(), "bubblewrap is not installed: `apt-get install bubblewrap`");
    let built = Command::new("cargo").args(["build", "--release", "--package", "aevatar-sandbox"]).status()?;
    ensure!(built.success(), "the release build failed");
    for (name, program) in PROGRAMS {
        compare(name, program)?;
    }
    Ok(())
}

fn compare(name: &str, program: &str) -> anyhow::Result<()> {
    let sandbox = "target/release/aevatar-sandbox";
    let contestants: [(&str, Vec<&str>); 4] = [
        ("python3 -I", vec![PYTHON, "-I", "-c", program]),
        ("bubblewrap + python3 -I", bubblewrap(program)),
        ("aevatar-sandbox run", vec![sandbox, "run", "--python", PYTHON, "-c", program]),
        (
            "aevatar-sandbox run --disk 4Mi (tmpfs)",
            vec![sandbox, "run", "--python", PYTHON, "--disk", "4Mi", "-c", program],
        ),
    ];
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); contestants.len()];
    for round in 0..ROUNDS + WARM_UP {
        for ((_, command), times) in contestants.iter().zip(&mut times) {
            let took = measure(command)?;
            if round >= WARM_UP {
                times.push(took);
            }
        }
    }
    let medians: Vec<Duration> = times.into_iter().map(median).collect();
    let [_, reference, ..] = medians[..] else { bail!("nothing was measured") };
    println!("| {name}, median of {ROUNDS} | time | to bubblewrap |\n| --- | --- | --- |");
    for ((contestant, _), median) in contestants.iter().zip(&medians) {
        let ratio = median.as_secs_f64() / reference.as_secs_f64();
        println!("| {contestant} | {:.1} ms | {ratio:.2} |", median.as_secs_f64() * 1000.0);
    }
    Ok(())
}

/// What a careful user of bubblewrap writes: all namespaces, a read-only /usr, nothing else of the host. It has no
/// limits of memory, CPU, processes or disk, and no filter of system calls.
fn bubblewrap(program: &str) -> Vec<&str> {
    let mut command = vec!["/usr/bin/bwrap", "--ro-bind", "/usr", "/usr"];
    command.extend([
        "--symlink",
        "usr/lib",
        "/lib",
        "--symlink",
        "usr/lib64",
        "/lib64",
        "--symlink",
        "usr/bin",
        "/bin",
    ]);
    command.extend(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--unshare-all", "--new-session"]);
    command.extend(["--die-with-parent", "--cap-drop", "ALL", PYTHON, "-I", "-c", program]);
    command
}

fn measure(command: &[&str]) -> anyhow::Result<Duration> {
    let (program, arguments) = command.split_first().context("an empty command")?;
    let start = Instant::now();
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    let took = start.elapsed();
    ensure!(status.success(), "`{}` failed", command.join(" "));
    Ok(took)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
