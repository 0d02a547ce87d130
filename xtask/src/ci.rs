//! `cargo xtask ci`: all set-up, all checks. Every failure is reported, not only the first; the tests come last.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{api_test, layers, vm};

/// Debian packages that tests need, each with a file that shows that it is there. Other distributions: the same
/// programs by their own names.
const PACKAGES: [(&str, &str); 14] = [
    ("python3", "/usr/bin/python3"),
    ("python3-pip", "/usr/lib/python3/dist-packages/pip"),
    ("e2fsprogs", "/usr/sbin/mkfs.ext4"),
    ("util-linux", "/usr/bin/setpriv"),
    ("fonts-wqy-zenhei", "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc"),
    ("bubblewrap", "/usr/bin/bwrap"),
    ("postgresql", "/usr/lib/postgresql"),
    ("python3-venv", "/usr/share/doc/python3-venv"),
    ("curl", "/usr/bin/curl"),
    ("mono-mcs", "/usr/bin/mcs"),
    ("mono-runtime", "/usr/bin/mono"),
    ("libmono-system-net-http4.0-cil", "/usr/lib/mono/4.5/System.Net.Http.dll"),
    ("libmono-system-runtime-serialization4.0-cil", "/usr/lib/mono/4.5/System.Runtime.Serialization.dll"),
    ("chromium", "/usr/bin/chromium"),
];

pub(crate) fn run() -> anyhow::Result<()> {
    install_missing(&PACKAGES)?;
    let checks: [(&str, &[&str]); 4] = [
        ("format", &["fmt", "--all", "--check"]),
        ("lints", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
        ("lints of trials", &["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"]),
        ("documentation", &["doc", "--workspace", "--no-deps", "--document-private-items"]),
    ];
    let mut failed = Vec::new();
    for (name, arguments) in checks {
        if !cargo(name, arguments).status().with_context(|| format!("could not run cargo for {name}"))?.success() {
            failed.push(name);
        }
    }
    let (passed, mut counts) = test().context("could not run the tests")?;
    if !passed {
        failed.push("tests");
    }
    if !api(&mut counts) {
        failed.push("API");
    }
    if !layer_trials(&mut counts) {
        failed.push("layers");
    }
    if !stock_linux(&mut counts) {
        failed.push("stock Linux");
    }
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.ignored);
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

fn cargo(name: &str, arguments: &[&str]) -> Command {
    println!("== {name}: cargo {}", arguments.join(" "));
    let mut command = Command::new("cargo");
    command.args(arguments).env("RUSTDOCFLAGS", "--deny warnings");
    command
}

/// Tests of all binaries together.
#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Adds what one test binary says at its end: `test result: ok. 5 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some((_, numbers)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for part in numbers.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let number: u64 = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// Runs all tests, shows what they print, and counts. Without a single test it has failed.
fn test() -> anyhow::Result<(bool, Counts)> {
    let mut tests = cargo("tests", &["test", "--workspace", "--no-fail-fast"]).stdout(Stdio::piped()).spawn()?;
    let mut counts = Counts::default();
    if let Some(output) = tests.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            counts.add(&line);
        }
    }
    let passed = tests.wait()?.success() && counts.passed > 0;
    Ok((passed, counts))
}

/// Sends the HTTP service what Schemathesis makes from its document; the whole is one test.
fn api(counts: &mut Counts) -> bool {
    println!("== API: cargo xtask api-test");
    if let Some(obstacle) = api_test::obstacle() {
        println!("skipped the test of the API: {obstacle}");
        counts.ignored += 1;
        return true;
    }
    match api_test::run() {
        Ok(()) => {
            counts.passed += 1;
            true
        }
        Err(error) => {
            eprintln!("{error:#}");
            counts.failed += 1;
            false
        }
    }
}

/// Leaves out layers and looks at what the table says that they stop; the whole is one test.
fn layer_trials(counts: &mut Counts) -> bool {
    println!("== layers: cargo xtask layers --check");
    if let Some(obstacle) = layers::obstacle() {
        println!("skipped the trials of layers: {obstacle}");
        counts.ignored += 1;
        return true;
    }
    match layers::check() {
        Ok(checked) => {
            println!("{checked} attacks without a layer: as the table says");
            counts.passed += 1;
            true
        }
        Err(error) => {
            eprintln!("{error:#}");
            counts.failed += 1;
            false
        }
    }
}

/// Set to `0` to leave out the smoke set in a guest with a stock Linux: it takes minutes of emulation.
const STOCK_LINUX: &str = "SANDBOX_STOCK_LINUX";

/// Runs the smoke set in a guest with a stock Linux and adds its cases. Where no guest can be made they are skipped; a
/// guest that can be made and fails is a failure.
fn stock_linux(counts: &mut Counts) -> bool {
    if std::env::var(STOCK_LINUX).is_ok_and(|value| value == "0") {
        println!("skipped the smoke set on a stock Linux: {STOCK_LINUX} is 0");
        counts.ignored += vm::smoke_size();
        return true;
    }
    if let Err(error) = install_missing(&vm::PACKAGES) {
        eprintln!("no guest: {error:#}");
        return false;
    }
    println!("== stock Linux: cargo xtask vm-test --set smoke --dev");
    if let Some(obstacle) = vm::obstacle() {
        println!("skipped the tests on a stock Linux, all of them: {obstacle}");
        counts.ignored += vm::smoke_size();
        return true;
    }
    match vm::test(&vm::Options::of_ci()) {
        Ok(guest) => {
            counts.passed += guest.passed;
            counts.failed += guest.failed;
            counts.ignored += guest.skipped;
            guest.are_good()
        }
        Err(error) => {
            eprintln!("no result from a stock Linux: {error:#}");
            counts.failed += vm::smoke_size();
            false
        }
    }
}

/// Installs packages that are missing, as root on a Debian. Elsewhere it names them and goes on: a test that lacks
/// something says so.
pub(crate) fn install_missing(packages: &[(&'static str, &'static str)]) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        packages.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !vm::is_root() || !Path::new("/usr/bin/apt-get").exists() {
        eprintln!("not installed, and not installed by this user: {}", missing.join(" "));
        return Ok(());
    }
    println!("== packages: {}", missing.join(" "));
    let apt = |arguments: &[&str]| {
        Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // As in single-user mode, no package starts its server: the tests start their own.
            .env("RUNLEVEL", "1")
            .status()
            .context("could not run apt-get")
    };
    // An old index is no reason to stop; a package that is not found is.
    apt(&["update", "--quiet=2"])?;
    let mut install = vec!["install", "--yes", "--quiet=2", "--no-install-recommends"];
    install.extend(missing);
    if apt(&install)?.success() { Ok(()) } else { bail!("apt-get could not install what tests need") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_binaries_are_added() {
        let mut counts = Counts::default();
        for line in [
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.29s",
            "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.29s",
            "test attack::files ... ok",
        ] {
            counts.add(line);
        }
        assert_eq!((counts.passed, counts.failed, counts.ignored), (7, 4, 1));
    }
}
