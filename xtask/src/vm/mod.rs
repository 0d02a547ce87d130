//! `cargo xtask vm-test`: the tests on a stock Debian with systemd and cgroup v2, under emulation.
//!
//! A guest is made once and kept in `target/vm`; what is tested goes in on a second disk, and its results come out on
//! it. Nothing of the host is mounted, and nothing is left but files in `target/vm`.

mod boot;
mod guest;
mod host;
mod payload;
mod plan;
mod results;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use fs_err as fs;

pub(crate) use host::{PACKAGES, is_root, obstacle};
pub(crate) use plan::{Set, smoke_size};
pub(crate) use results::Counts;

/// How many times slower than a usual machine the guest is taken to be; see `crates/cli/tests/corpus/site.rs`.
const SLOWNESS: u32 = 20;

/// What to run, and where.
pub(crate) struct Options {
    pub(crate) releases: Vec<&'static guest::Release>,
    pub(crate) set: Set,
    /// Tests the binary of the development profile, which `cargo test` has built anyway.
    pub(crate) development: bool,
    /// Only these cases, as lines of `tests/vm/smoke.txt`, whatever the set.
    pub(crate) cases: Vec<String>,
    /// Keeps the second disk.
    pub(crate) keep: bool,
}

impl Options {
    /// The smoke set on the newer kernel, as `cargo xtask ci` runs it.
    pub(crate) fn of_ci() -> Self {
        Self { releases: vec![&guest::RELEASES[0]], set: Set::Smoke, development: true, cases: Vec::new(), keep: false }
    }

    fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut options =
            Self { releases: Vec::new(), set: Set::Full, development: false, cases: Vec::new(), keep: false };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            match argument {
                "--release" => {
                    let name = arguments.next().unwrap_or_default();
                    let release = guest::RELEASES.iter().find(|release| release.name == name);
                    options.releases.push(release.with_context(|| {
                        let names: Vec<&str> = guest::RELEASES.iter().map(|release| release.name).collect();
                        format!("--release takes one of {}", names.join(", "))
                    })?);
                }
                "--set" => {
                    options.set = match arguments.next() {
                        Some("smoke") => Set::Smoke,
                        Some("full") => Set::Full,
                        _ => bail!("--set takes smoke or full"),
                    };
                }
                "--case" => options.cases.push(arguments.next().context("--case takes a step and a case")?.to_owned()),
                "--dev" => options.development = true,
                "--keep" => options.keep = true,
                _ => bail!(
                    "vm-test [--release trixie|bookworm]… [--set smoke|full] [--case 'STEP CASE']… [--dev] [--keep]"
                ),
            }
        }
        if options.releases.is_empty() {
            options.releases.push(&guest::RELEASES[0]);
        }
        Ok(options)
    }
}

/// `cargo xtask vm-test`.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let options = Options::parse(arguments)?;
    crate::ci::install_missing(&PACKAGES)?;
    if let Some(obstacle) = obstacle() {
        bail!("this host cannot make a guest: {obstacle}");
    }
    let counts = test(&options)?;
    println!("{counts}");
    ensure!(counts.are_good(), "a case failed or did not report");
    Ok(())
}

/// Makes the guests, runs the set in each, and prints every case.
pub(crate) fn test(options: &Options) -> anyhow::Result<Counts> {
    let folder = folder()?;
    let mut counts = Counts::default();
    for release in &options.releases {
        counts.add(&test_in(release, options, &folder).with_context(|| format!("in a guest of {}", release.name))?);
    }
    Ok(counts)
}

fn test_in(release: &guest::Release, options: &Options, folder: &Path) -> anyhow::Result<Counts> {
    let built = payload::build(options.development)?;
    let started = Instant::now();
    let guest = guest::get(release, &built, folder)?;
    if started.elapsed() > Duration::from_secs(2) {
        println!("the guest was made in {:.0?}", started.elapsed());
    }
    // What the last run of this set left for whoever wanted to look.
    let run = folder.join(format!("run-{}-{}", release.name, options.set.name()));
    if run.exists() {
        fs::remove_dir_all(&run)?;
    }
    fs::create_dir_all(&run)?;
    let plan = plan::plan(options.set, &options.cases)?;
    let disk = run.join("payload.img");
    payload::make(&disk, &run.join("payload"), &built, &plan, SLOWNESS)?;
    let started = Instant::now();
    let booted = boot::boot(&guest, &disk, &run, options.set.time_limit());
    let results = payload::take_out(&disk, &run);
    if !options.keep {
        fs::remove_file(&disk)?;
    }
    // What there is of results is shown, also of a guest that had to be switched off.
    let report = results.and_then(|results| results::read(&results, &plan));
    if let Ok(report) = &report {
        report.print(release.name, options.set.name(), started.elapsed());
    }
    booted?;
    Ok(report?.counts())
}

/// `target/vm` of the workspace. Drafts of a run that was killed are removed.
fn folder() -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    fs::create_dir_all(&target)?;
    let folder = fs::canonicalize(&target)?.join("vm");
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "draft") {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_nonsense_is_refused() {
        let parse = |line: &str| Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let options = parse("--release bookworm --release trixie --set smoke --keep").unwrap();
        let names: Vec<&str> = options.releases.iter().map(|release| release.name).collect();
        assert_eq!((names, options.set, options.keep), (vec!["bookworm", "trixie"], Set::Smoke, true));
        assert_eq!(parse("").unwrap().releases.len(), 1);
        for nonsense in ["--release sid", "--release", "--set all", "--fast"] {
            assert!(parse(nonsense).is_err(), "{nonsense}");
        }
    }
}
