//! The guest: a Debian with systemd, an ordinary user and a prepared Python environment, as an image that stays as it
//! was made. It is made anew when anything that goes into it changes.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use fs_err as fs;
use sha2::{Digest as _, Sha256};

use super::{host, payload::Built};
use crate::lock;

/// A release of Debian.
pub(crate) struct Release {
    pub(crate) name: &'static str,
    /// Its CPython is 3.N.
    python: u8,
}

/// Known releases, the default one first.
pub(crate) const RELEASES: [Release; 2] =
    [Release { name: "trixie", python: 13 }, Release { name: "bookworm", python: 11 }];

const PACKAGES: [&str; 12] = [
    "systemd-sysv",
    "linux-image-cloud-amd64",
    "udev",
    "kmod",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "python3",
    "python3-pip",
    "apparmor",
    "e2fsprogs",
    "fonts-wqy-zenhei",
];
const SCRIPT: &str = include_str!("../../../tests/vm/make-root.sh");
/// Sparse, and never written to: what a guest writes goes into a file that qemu has deleted already.
const IMAGE_SIZE: &str = "6G";

/// A guest that can be booted.
pub(crate) struct Guest {
    pub(crate) image: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
}

impl Guest {
    fn in_folder(folder: &Path) -> Self {
        Self { image: folder.join("root.img"), kernel: folder.join("vmlinuz"), initrd: folder.join("initrd.img") }
    }
}

/// The guest of `release`, from the cache in `folder` or made now.
pub(super) fn get(release: &Release, built: &Built, folder: &Path) -> anyhow::Result<Guest> {
    let place = folder.join(format!("guest-{}-{}", release.name, key(release)?));
    if !place.exists() {
        println!("== guest: Debian {}, made once", release.name);
        let draft = place.with_extension("draft");
        fs::create_dir(&draft)?;
        make(release, built, folder, &draft)?;
        fs::rename(&draft, &place)?;
        remove_others(release, folder, &place)?;
    }
    Ok(Guest::in_folder(&place))
}

/// Of everything that goes into a guest, but for the packages' versions.
fn key(release: &Release) -> anyhow::Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(format!("{} {PACKAGES:?} {IMAGE_SIZE}\0{SCRIPT}\0", release.name));
    hasher.update(fs::read(lock::path(release.python))?);
    // What reads and writes the prepared environment.
    let mut sources: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir("crates/python/src/environment").context("run it from the root of the workspace")? {
        sources.push(entry?.path());
    }
    sources.sort();
    for source in sources {
        hasher.update(fs::read(source)?);
    }
    let mut key = String::new();
    for byte in hasher.finalize().iter().take(8) {
        write!(key, "{byte:02x}")?;
    }
    Ok(key)
}

fn make(release: &Release, built: &Built, folder: &Path, draft: &Path) -> anyhow::Result<()> {
    let wheels = draft.join("wheels");
    lock::download(release.python, &wheels)?;
    let root = draft.join("root");
    // In namespaces of its own: its mounts and processes end with it, however it ends.
    let mut script = Command::new("setpriv");
    script.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", SCRIPT]);
    script.args(["make-root.sh", release.name, &host::mirror()?.unwrap_or_default(), &PACKAGES.join(",")]);
    script.args([&root, &folder.join("packages").join(release.name), &built.binary, &wheels]);
    if let Some(proxy) = host::proxy() {
        script.env("http_proxy", proxy);
    }
    let log = draft.join("make-root.log");
    let output = fs::File::create(&log)?.into_file();
    let status = script.stdout(output.try_clone()?).stderr(output).status().context("could not run setpriv")?;
    if !status.success() {
        let log = fs::read_to_string(&log)?;
        let end: Vec<&str> = log.lines().rev().take(30).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        anyhow::bail!("make-root.sh ended with {status}:\n{}", end.join("\n"));
    }

    let guest = Guest::in_folder(draft);
    for (prefix, to) in [("vmlinuz-", &guest.kernel), ("initrd.img-", &guest.initrd)] {
        let mut found = None;
        for entry in fs::read_dir(root.join("boot"))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
                found = Some(path);
            }
        }
        fs::copy(found.with_context(|| format!("the guest has no /boot/{prefix}*"))?, to)?;
    }
    make_image(&guest.image, &root, IMAGE_SIZE)?;
    fs::remove_dir_all(root)?;
    fs::remove_dir_all(wheels)?;
    Ok(())
}

/// An image of `size` with the content of `folder`.
pub(super) fn make_image(image: &Path, folder: &Path, size: &str) -> anyhow::Result<()> {
    // mke2fs would announce that it makes the file.
    fs::File::create(image)?;
    let made = Command::new("mkfs.ext4").args(["-q", "-m", "0", "-d"]).arg(folder).arg(image).arg(size).status();
    ensure!(made.context("could not run mkfs.ext4")?.success(), "mkfs.ext4 could not make {}", image.display());
    Ok(())
}

/// Removes guests of the same release that nobody will ask for again.
fn remove_others(release: &Release, folder: &Path, place: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&format!("guest-{}-", release.name)) && path != place {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}
