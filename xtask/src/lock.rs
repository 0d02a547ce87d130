//! Regenerates the locks of the default Python environment: `cargo xtask lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

/// CPython minors that get a lock; the same list as `crates/python/src/environment/requirements.rs`.
const MINORS: [u8; 3] = [11, 12, 13];
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];
/// glibc versions a wheel may ask for, newest first: numpy and scipy have no wheels for anything older than 2.27.
const GLIBC_MINORS: [u8; 12] = [28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17];

#[derive(Deserialize)]
struct Report {
    install: Vec<ReportEntry>,
}

#[derive(Deserialize)]
struct ReportEntry {
    metadata: ReportMetadata,
    download_info: DownloadInfo,
}

#[derive(Deserialize)]
struct ReportMetadata {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct DownloadInfo {
    archive_info: ArchiveInfo,
}

#[derive(Deserialize)]
struct ArchiveInfo {
    hashes: BTreeMap<String, String>,
}

/// One resolved distribution: its exact version and the SHA-256 of its wheel.
struct Resolved {
    version: String,
    sha256: String,
}

/// Resolves `requirements.in` for every supported minor and architecture and rewrites the lock files.
///
/// Needs the network and, on `PATH`, a `python3.N` with pip for each supported minor: pip judges environment
/// markers (`python_version < "3.12"`) by the interpreter it runs in, whatever `--python-version` says.
pub(crate) fn run() -> anyhow::Result<()> {
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/python/locks/requirements.in");
    for minor in MINORS {
        let lock = lock_for(minor, &input)?;
        fs_err::write(path(minor), lock)?;
    }
    Ok(())
}

/// The lock of CPython 3.`minor`.
pub(crate) fn path(minor: u8) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../crates/python/locks/python3.{minor}.txt"))
}

/// Downloads what the lock of CPython 3.`minor` names for `x86_64` into `folder`, with the host's own pip.
pub(crate) fn download(minor: u8, folder: &Path) -> anyhow::Result<()> {
    let mut pip = Command::new("/usr/bin/python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--require-hashes"]);
    choose_wheels(&mut pip, minor, ARCHITECTURES[0]);
    pip.arg("--requirement").arg(path(minor)).arg("--dest").arg(folder);
    let status = pip.env("PIP_REQUIRE_VIRTUALENV", "0").stdin(Stdio::null()).status().context("cannot start pip")?;
    ensure!(status.success(), "pip could not download the packages of CPython 3.{minor}: {status}");
    Ok(())
}

/// Wheels alone, of the interpreter and the systems that a lock is made for, whatever pip runs in.
fn choose_wheels(pip: &mut Command, minor: u8, architecture: &str) {
    pip.args(["--only-binary", ":all:", "--implementation", "cp"])
        .args(["--python-version", &format!("3.{minor}"), "--abi", &format!("cp3{minor}")])
        .args(["--abi", "abi3", "--abi", "none"]);
    for glibc in GLIBC_MINORS {
        pip.args(["--platform", &format!("manylinux_2_{glibc}_{architecture}")]);
    }
    pip.args(["--platform", &format!("manylinux2014_{architecture}")]);
}

fn lock_for(minor: u8, input: &Path) -> anyhow::Result<String> {
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    let mut hashes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for architecture in ARCHITECTURES {
        let resolved = resolve(minor, architecture, input, &versions)?;
        if !versions.is_empty() {
            let first: Vec<_> = versions.keys().collect();
            ensure!(
                first == resolved.keys().collect::<Vec<_>>(),
                "CPython 3.{minor}: {architecture} needs other distributions than {}",
                ARCHITECTURES[0]
            );
        }
        for (name, Resolved { version, sha256 }) in resolved {
            hashes.entry(name.clone()).or_default().insert(sha256);
            versions.insert(name, version);
        }
    }
    let mut lock = format!(
        "# CPython 3.{minor}, Linux with glibc 2.28 or later, {}.\n\
         # Generated from requirements.in by `cargo xtask lock`; do not edit.\n",
        ARCHITECTURES.join(" and ")
    );
    for (name, version) in &versions {
        write!(lock, "{name}=={version}")?;
        for sha256 in &hashes[name] {
            write!(lock, " \\\n    --hash=sha256:{sha256}")?;
        }
        lock.push('\n');
    }
    Ok(lock)
}

/// Asks pip what it would install. `pinned` holds the versions that another architecture has settled.
fn resolve(
    minor: u8,
    architecture: &str,
    input: &Path,
    pinned: &BTreeMap<String, String>,
) -> anyhow::Result<BTreeMap<String, Resolved>> {
    let python = format!("python3.{minor}");
    let scratch = tempfile::tempdir()?;
    let constraints = scratch.path().join("constraints.txt");
    let mut pins = String::new();
    for (name, version) in pinned {
        writeln!(pins, "{name}=={version}")?;
    }
    fs_err::write(&constraints, pins)?;

    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--dry-run", "--ignore-installed", "--report", "-", "--quiet", "--no-input"]);
    choose_wheels(&mut pip, minor, architecture);
    pip.arg("--target")
        .arg(scratch.path().join("target"))
        .arg("--constraint")
        .arg(&constraints)
        .arg("--requirement")
        .arg(input)
        // A directory of wheels on this machine is not what every user's index holds.
        .env_remove("PIP_FIND_LINKS")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = pip.output().with_context(|| format!("cannot start {python}; `cargo xtask lock` needs it"))?;
    if !output.status.success() {
        bail!("{python} -m pip could not resolve {} for {architecture}: {}", input.display(), output.status);
    }
    let report: Report = serde_json::from_slice(&output.stdout).context("pip's report is not what was expected")?;
    report
        .install
        .into_iter()
        .map(|entry| {
            let name = normalise(&entry.metadata.name);
            let sha256 = entry
                .download_info
                .archive_info
                .hashes
                .get("sha256")
                .with_context(|| format!("the index gives no SHA-256 for {name}"))?
                .clone();
            Ok((name, Resolved { version: entry.metadata.version, sha256 }))
        })
        .collect()
}

/// The normalised form of a distribution's name (PEP 503).
fn normalise(name: &str) -> String {
    let parts: Vec<_> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_lowercase()
}
