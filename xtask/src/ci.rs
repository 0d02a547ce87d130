//! `cargo xtask ci`: all set-up, all checks. Every failure is reported, not only the first; the tests come last.

use std::{path::Path, process::Command};

use anyhow::{Context, bail};

/// Debian packages that tests need, each with a file that shows that it is there. Other distributions: the same
/// programs by their own names.
const PACKAGES: [(&str, &str); 6] = [
    ("python3", "/usr/bin/python3"),
    ("python3-pip", "/usr/lib/python3/dist-packages/pip"),
    ("e2fsprogs", "/usr/sbin/mkfs.ext4"),
    ("util-linux", "/usr/bin/setpriv"),
    ("fonts-wqy-zenhei", "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc"),
    ("bubblewrap", "/usr/bin/bwrap"),
];

pub(crate) fn run() -> anyhow::Result<()> {
    install_missing()?;
    let checks: [(&str, &[&str]); 4] = [
        ("format", &["fmt", "--all", "--check"]),
        ("lints", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
        ("documentation", &["doc", "--workspace", "--no-deps", "--document-private-items"]),
        ("tests", &["test", "--workspace", "--no-fail-fast"]),
    ];
    let mut failed = Vec::new();
    for (name, arguments) in checks {
        println!("== {name}: cargo {}", arguments.join(" "));
        let status = Command::new("cargo")
            .args(arguments)
            .env("RUSTDOCFLAGS", "--deny warnings")
            .status()
            .with_context(|| format!("could not run cargo for {name}"))?;
        if !status.success() {
            failed.push(name);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

/// Installs packages that are missing, as root on a Debian. Elsewhere it names them and goes on: a test that lacks
/// something says so.
fn install_missing() -> anyhow::Result<()> {
    let missing: Vec<&str> =
        PACKAGES.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root || !Path::new("/usr/bin/apt-get").exists() {
        eprintln!("not installed, and not installed by this user: {}", missing.join(" "));
        return Ok(());
    }
    println!("== packages: {}", missing.join(" "));
    let apt = |arguments: &[&str]| {
        Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .context("could not run apt-get")
    };
    // An old index is no reason to stop; a package that is not found is.
    apt(&["update", "--quiet=2"])?;
    let mut install = vec!["install", "--yes", "--quiet=2", "--no-install-recommends"];
    install.extend(missing);
    if apt(&install)?.success() { Ok(()) } else { bail!("apt-get could not install what tests need") }
}
