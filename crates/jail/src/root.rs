//! The read-only root of the engine and of every sandbox in it.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, major, minor, mkdir, open, symlink},
    io::Errno,
    mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags, mount_change, unmount},
    process::{chdir, pivot_root},
};

use crate::{
    failure::{During, SetupFailure, SetupStep},
    mount::{attach, clone_mount, create_filesystem, harmless, harmless_and_read_only},
    spec::{MemoryDevice, RootEntry},
    sys::mount_attributes::set_mount_flags,
};

/// Where the root is put together. The folder exists on every host; what it holds is covered in this mount namespace
/// only, and sources below it were opened before.
const STAGING: &str = "/tmp";

/// Where /work, /tmp and /dev/shm of a sandbox come from, for the moment between mounting and attaching them.
pub(crate) const SCRATCH: &str = "/run";

/// The host's files that the root shows, opened as mounts of their own; one per entry, in the same order.
pub(crate) type Sources = Vec<Option<OwnedFd>>;

/// Opens what the root shows of the host. Whoever may read it must do this: an interpreter below a private home is
/// out of reach for the engine's mapped root.
pub(crate) fn open_sources(entries: &[RootEntry]) -> Result<Sources, SetupFailure> {
    entries
        .iter()
        .map(|entry| match entry {
            RootEntry::Bind { source, .. } => clone_mount(CWD, source, harmless_and_read_only())
                .during(SetupStep::OpenSource, source.display())
                .map(Some),
            RootEntry::Device(device) => {
                open_device(*device).during(SetupStep::OpenSource, device.path().display()).map(Some)
            }
            _ => Ok(None),
        })
        .collect()
}

/// A device of the host, after a look at what it really is: a link planted there would show something else.
fn open_device(device: MemoryDevice) -> Result<OwnedFd, Errno> {
    // Read-only is the host's file, with its times and mode; what is written to a device does not go there.
    let flags = harmless_and_read_only() - MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = clone_mount(CWD, &device.path(), flags)?;
    let status = fstat(&mount)?;
    let is_device = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
    if is_device && (major(status.st_rdev), minor(status.st_rdev)) == (1, device.minor()) {
        Ok(mount)
    } else {
        Err(Errno::NODEV)
    }
}

/// Builds the root and makes it this process's own; the host's is out of reach afterwards. Returns why there is no
/// /proc, if there is none.
pub(crate) fn enter(entries: &[RootEntry], sources: Sources) -> Result<Option<SetupFailure>, SetupFailure> {
    let step = SetupStep::BuildRoot;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).during(step, "/")?;
    let root =
        create_filesystem("tmpfs", &[("mode", Some("755")), ("size", Some("8m"))], harmless()).during(step, "tmpfs")?;
    attach(&root, Path::new(STAGING)).during(step, STAGING)?;

    for (entry, source) in entries.iter().zip(sources) {
        perform(entry, source).during(step, entry.target().display())?;
    }
    for folder in ["/proc", "/work", "/tmp", "/dev/shm", SCRATCH] {
        make_directory(&staged(Path::new(folder))).during(step, folder)?;
    }
    // Before the host's /proc is out of sight: the kernel lets a user namespace mount only what it could see anyway.
    let proc_failure = mount_proc(&staged(Path::new("/proc")), &[]).during(SetupStep::MountProc, "/proc").err();

    let step = SetupStep::PivotRoot;
    chdir(STAGING).during(step, STAGING)?;
    // The same folder twice stacks the old root on the new one, so that no folder for the old one is needed.
    pivot_root(".", ".").during(step, STAGING)?;
    unmount(".", UnmountFlags::DETACH).during(step, "the host's root")?;
    // pivot_root need not have moved us.
    chdir("/").during(step, "/")?;
    // Opened anew: the mount's own descriptor would do, but "/" is what everybody after us sees.
    let root = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).during(step, "/")?;
    set_mount_flags(&root, harmless_and_read_only(), false).during(step, "/")?;
    Ok(proc_failure)
}

/// Mounts a procfs of this pid namespace.
pub(crate) fn mount_proc(path: &Path, options: &[(&str, Option<&str>)]) -> Result<(), Errno> {
    let proc = create_filesystem("proc", options, harmless() | MountAttrFlags::MOUNT_ATTR_NOEXEC)?;
    attach(&proc, path)
}

fn perform(entry: &RootEntry, source: Option<OwnedFd>) -> Result<(), Errno> {
    let target = staged(&entry.target());
    match (entry, source) {
        (RootEntry::Directory(_), _) => make_directory(&target),
        (RootEntry::File(_, content), _) => {
            make_parent(&target)?;
            let file = create_file(&target)?;
            write_all(&file, content)
        }
        (RootEntry::Symlink(_, destination), _) => {
            make_parent(&target)?;
            symlink(destination, &target)
        }
        (RootEntry::Cover(_), _) => {
            let empty =
                create_filesystem("tmpfs", &[("mode", Some("755")), ("size", Some("4k"))], harmless_and_read_only())?;
            attach(&empty, &target)
        }
        (RootEntry::Bind { .. } | RootEntry::Device(_), Some(source)) => {
            if FileType::from_raw_mode(fstat(&source)?.st_mode) == FileType::Directory {
                make_directory(&target)?;
            } else {
                make_parent(&target)?;
                drop(create_file(&target)?);
            }
            attach(&source, &target)
        }
        (RootEntry::Bind { .. } | RootEntry::Device(_), None) => Err(Errno::BADF),
    }
}

/// Makes symbolic links in writable folders, with the folders that they are in: where, and to what.
pub(crate) fn make_links(links: &[(PathBuf, PathBuf)]) -> Result<(), SetupFailure> {
    for (link, destination) in links {
        make_parent(link).and_then(|()| symlink(destination, link)).during(SetupStep::MountScratch, link.display())?;
    }
    Ok(())
}

fn staged(path: &Path) -> PathBuf {
    Path::new(STAGING).join(path.strip_prefix("/").unwrap_or(path))
}

fn create_file(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::from_raw_mode(0o644))
}

pub(crate) fn make_parent(path: &Path) -> Result<(), Errno> {
    path.parent().map_or(Ok(()), make_directory)
}

fn make_directory(path: &Path) -> Result<(), Errno> {
    match mkdir(path, Mode::from_raw_mode(0o755)) {
        Err(Errno::NOENT) => {
            make_parent(path)?;
            mkdir(path, Mode::from_raw_mode(0o755))
        }
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

pub(crate) fn write_all(file: &OwnedFd, mut content: &[u8]) -> Result<(), Errno> {
    while !content.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(file, content))?;
        content = content.get(written..).unwrap_or_default();
    }
    Ok(())
}
