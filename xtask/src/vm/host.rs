//! What the host must have to make a guest.

use std::{path::Path, process::Command};

use anyhow::Context;
use fs_err as fs;

/// Debian packages that vm-test needs, each with a file that shows that it is there.
pub(crate) const PACKAGES: [(&str, &str); 5] = [
    ("debootstrap", "/usr/sbin/debootstrap"),
    ("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    ("e2fsprogs", "/usr/sbin/debugfs"),
    ("python3-pip", "/usr/lib/python3/dist-packages/pip"),
    ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
];

/// Why no guest can be made here, if so.
pub(crate) fn obstacle() -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some("it is emulated for x86_64 hosts only".to_owned());
    }
    if !is_root() {
        return Some("debootstrap needs root".to_owned());
    }
    let missing: Vec<&str> =
        PACKAGES.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() { None } else { Some(format!("these packages are missing: {}", missing.join(" "))) }
}

pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// The mirror that apt takes packages of this Debian from. None elsewhere: debootstrap has a default of its own.
pub(super) fn mirror() -> anyhow::Result<Option<String>> {
    let release = fs::read_to_string("/etc/os-release")?;
    let field = |name: &str| {
        let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches('"').to_owned())
    };
    let (Some("debian"), Some(codename)) = (field("ID").as_deref(), field("VERSION_CODENAME")) else {
        return Ok(None);
    };
    let targets = Command::new("apt-get")
        .args(["indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)"])
        .output()
        .context("could not run apt-get")?;
    let targets = String::from_utf8_lossy(&targets.stdout).into_owned();
    Ok(targets.lines().find_map(|line| line.strip_prefix(&format!("{codename} main "))).map(str::to_owned))
}

/// The proxy that apt uses, for debootstrap, which does not read apt's configuration.
pub(super) fn proxy() -> Option<String> {
    let dump = Command::new("apt-config").args(["dump", "--format", "%v%n", "Acquire::http::Proxy"]).output().ok()?;
    String::from_utf8_lossy(&dump.stdout).lines().next().map(str::to_owned).filter(|proxy| !proxy.is_empty())
}
