//! Disk-backed writable folders: an ext4 filesystem in a file that has no name.
//!
//! A fresh one is a copy of a template that was formatted once per size. The file is made with `O_TMPFILE` and the loop
//! device frees itself, so that nothing is left when everybody who holds a descriptor is dead. The mount is never
//! attached in the host's namespace. Measured on a 2-core VM: copy, attach and mount 1.1 ms, release 1 ms.
//!
//! That was a quarter of what a short program costs, so a filesystem is used again when the one before has left nothing
//! in it: what the engine itself put there is removed, with the folders, and what the kernel counts as free must be what
//! it was at the beginning. Whatever else there is, it goes with its filesystem.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use fs_err as fs;
use rustix::{
    fs::{
        AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, SeekFrom, Uid, chownat, fstat, fstatvfs, ftruncate, mkdirat,
        open, openat, openat2, seek, statvfs, unlinkat,
    },
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen},
};

use crate::{mount::harmless, spec::WRITABLE, sys::loop_device};

/// The smallest image that is worth a filesystem; below, a tmpfs does.
pub const MIN_IMAGE: u64 = 8 << 20;

/// Drafts of templates that this process began.
static ATTEMPTS: AtomicU32 = AtomicU32::new(0);

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The host has no tool to format an image.
    #[error("`mkfs.ext4` was not found")]
    NoFormatter,
    /// Formatting failed.
    #[error("`mkfs.ext4` could not format an image of {bytes} bytes: {output}")]
    Format {
        /// Size of the image.
        bytes: u64,
        /// What it said, shortened.
        output: String,
    },
    /// The host's disk has less room than the limit promises.
    #[error("{path} has {free} bytes left, less than the disk limit of {limit} bytes")]
    HostFull {
        /// Where images are.
        path: PathBuf,
        /// Bytes left.
        free: u64,
        /// Bytes promised.
        limit: u64,
    },
    /// A step of making an image failed.
    #[error("could not {step} (`{path}`)")]
    Io {
        /// Which step.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Disks that are kept for the next sandbox, at most.
const MOST_IDLE: usize = 32;
/// For how long one is kept.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// Bytes that the image of a disk may take on the host when it is kept: a file that was removed in it still does.
const MOST_TAKEN: u64 = 4 << 20;
/// Sandboxes that use one filesystem, each by a mount of its own. All are made with the filesystem: to get another one
/// later waits for the kernel's writing back, which takes seconds now and then.
const USES: usize = 8;

/// Makes disks. Needs root on the host: only the initial user namespace may mount a block device.
#[derive(Clone, Debug)]
pub struct DiskImages {
    folder: PathBuf,
    formatter: PathBuf,
    idle: Arc<Mutex<Vec<(Instant, Disk)>>>,
}

/// A filesystem for one sandbox at a time. Dropping it removes it, once no mount of it is left.
#[derive(Debug)]
pub struct Disk {
    /// Keeps the filesystem, and is the way into it from outside.
    anchor: OwnedFd,
    /// For those who will use it.
    mounts: Vec<OwnedFd>,
    /// What is behind it.
    image: OwnedFd,
    size: (u64, u64),
    /// Blocks and inodes that were free when there was nothing in it.
    pristine: (u64, u64),
}

impl DiskImages {
    /// Disks whose templates are in `folder`, which is made if need be and should be on a disk, not a tmpfs.
    ///
    /// # Errors
    /// The host cannot make disks.
    pub fn new(folder: PathBuf) -> Result<Self, DiskError> {
        let formatter = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4", "/usr/bin/mkfs.ext4"]
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or(DiskError::NoFormatter)?;
        fs::create_dir_all(&folder).map_err(|source| DiskError::Io {
            step: "make the folder for disk images",
            path: folder.clone(),
            source,
        })?;
        check_private(&folder).map_err(|source| DiskError::Io {
            step: "keep the folder for disk images private",
            path: folder.clone(),
            source,
        })?;
        Ok(Self { folder, formatter, idle: Arc::default() })
    }

    /// An empty disk of at most `bytes` and `inodes`, whose folders belong to `host_uid`, and a detached mount of it.
    ///
    /// # Errors
    /// The host is full, or a step failed.
    pub fn create(&self, bytes: u64, inodes: u64, host_uid: u32) -> Result<(Disk, OwnedFd), DiskError> {
        // Also for one that is kept: what it promises is still the host's to give.
        let mut free = self.free()?;
        if free < bytes {
            // What is kept is the first to go.
            let kept = std::mem::take(&mut *self.idle());
            drop(kept);
            free = self.free()?;
        }
        if free < bytes {
            return Err(DiskError::HostFull { path: self.folder.clone(), free, limit: bytes });
        }
        let kept = self.take_idle((bytes, inodes));
        let mut disk = match kept {
            Some(disk) => disk,
            None => self.make(bytes, inodes)?,
        };
        let mount = disk.mounts.pop().ok_or_else(|| self.failed("mount a disk image", Errno::NODEV))?;
        for (_, folder) in WRITABLE {
            // Nothing else is in the filesystem: no name in it can be a trap.
            make_folder(&disk.anchor, folder, host_uid)
                .map_err(|errno| self.failed("make the folders of a disk", errno))?;
        }
        Ok((disk, mount))
    }

    /// Keeps a disk for the next sandbox, if the one before has left nothing but `files` in it; else removes it. Every
    /// process that could write to it is dead.
    ///
    /// `files` are relative to the filesystem's root: what is named is removed, files before their folders.
    pub fn give_back(&self, disk: Disk, files: &[PathBuf]) {
        let is_clean = !disk.mounts.is_empty() && disk.is_small() && disk.clear(files).is_ok();
        let mut idle = self.idle();
        let replaced = (is_clean && idle.len() >= MOST_IDLE).then(|| idle.remove(0));
        if is_clean {
            idle.push((Instant::now(), disk));
        }
        drop(idle);
        // Outside of the lock: the kernel takes its time.
        drop(replaced);
    }

    /// Removes what has been kept for too long.
    pub fn trim(&self) {
        let old: Vec<_> = {
            let mut idle = self.idle();
            let (old, young) = idle.drain(..).partition(|(since, _)| since.elapsed() >= IDLE_FOR);
            *idle = young;
            old
        };
        // Outside of the lock: the kernel takes its time.
        drop(old);
    }

    fn take_idle(&self, size: (u64, u64)) -> Option<Disk> {
        let mut idle = self.idle();
        // The oldest first: the kernel lets go of what was in it a moment after the last process has let go of its mounts.
        let place = idle.iter().position(|(_, disk)| disk.size == size && disk.is_pristine())?;
        Some(idle.remove(place).1)
    }

    /// Nothing panics while it holds the lock.
    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, Disk)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, bytes: u64, inodes: u64) -> Result<Disk, DiskError> {
        let template = self.template(bytes, inodes)?;
        let image = self.copy(&template).map_err(|errno| self.failed("copy the empty disk image", errno))?;
        let (source, anchor) = mount_image(&image).map_err(|errno| {
            // A template that was damaged is made anew next time.
            if matches!(errno, Errno::INVAL | Errno::UCLEAN) {
                drop(fs::remove_file(&template));
            }
            self.failed("mount a disk image", errno)
        })?;
        let pristine = left(&anchor).map_err(|errno| self.failed("look into a disk image", errno))?;
        let mounts = (0..USES).map(|_| mount_device(&source)).collect::<Result<_, _>>();
        let mounts = mounts.map_err(|errno| self.failed("mount a disk image", errno))?;
        Ok(Disk { anchor, mounts, image, size: (bytes, inodes), pristine })
    }

    /// Bytes that the host's disk has left.
    fn free(&self) -> Result<u64, DiskError> {
        statvfs(&self.folder)
            .map(|usage| usage.f_bavail.saturating_mul(usage.f_frsize))
            .map_err(|errno| self.failed("look at the free space", errno))
    }

    /// The formatted image of this size, made on first use: in a file of its own, then renamed, so that two processes
    /// may do it at once.
    fn template(&self, bytes: u64, inodes: u64) -> Result<PathBuf, DiskError> {
        let path = self.folder.join(format!("ext4-{bytes}-{inodes}.image"));
        if path.exists() {
            return Ok(path);
        }
        let step = "make an empty disk image";
        let fail = |source| DiskError::Io { step, path: path.clone(), source };
        // One of its own for each attempt: two threads must not format the same file.
        let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let draft = self.folder.join(format!("ext4-{bytes}-{inodes}.{}-{attempt}.draft", std::process::id()));
        let file = fs::File::create(&draft).map_err(fail)?;
        file.set_len(bytes).map_err(fail)?;
        drop(file);
        // No journal: nothing here survives a crash anyway. No reserve for root, no lazy initialisation in the
        // background, no discard of a sparse file.
        let output = Command::new(&self.formatter)
            .args(["-q", "-F", "-O", "^has_journal,^resize_inode", "-m", "0", "-E"])
            .args(["lazy_itable_init=1,nodiscard", "-b", "4096", "-N"])
            .arg(inodes.to_string())
            .arg(&draft)
            .env_clear()
            .output()
            .map_err(fail)?;
        if !output.status.success() {
            drop(fs::remove_file(&draft));
            let output = String::from_utf8_lossy(&output.stderr).chars().take(400).collect();
            return Err(DiskError::Format { bytes, output });
        }
        fs::rename(&draft, &path).map_err(fail)?;
        Ok(path)
    }

    /// A nameless copy of `template`: only what is written in it, so a few hundred kilobytes.
    fn copy(&self, template: &Path) -> Result<OwnedFd, Errno> {
        let source = open(template, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let copy =
            openat(CWD, &self.folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))?;
        let size = fstat(&source)?.st_size.cast_unsigned();
        ftruncate(&copy, size)?;
        let mut buffer = vec![0_u8; 256 * 1024];
        let mut offset = 0;
        // The next data from `offset` on, until there is none.
        while let Ok(start) = seek(&source, SeekFrom::Data(offset)) {
            let end = seek(&source, SeekFrom::Hole(start))?;
            offset = start;
            while offset < end {
                let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
                let count = rustix::io::pread(&source, buffer.get_mut(..wanted).ok_or(Errno::IO)?, offset)?;
                let written = rustix::io::pwrite(&copy, buffer.get(..count).ok_or(Errno::IO)?, offset)?;
                if written == 0 {
                    return Err(Errno::IO);
                }
                offset += written as u64;
            }
        }
        Ok(copy)
    }

    fn failed(&self, step: &'static str, errno: Errno) -> DiskError {
        DiskError::Io { step, path: self.folder.clone(), source: errno.into() }
    }
}

impl Disk {
    /// The folder of it that a sandbox sees as `/work`. Whoever holds it keeps the filesystem from being used again.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn work(&self) -> io::Result<OwnedFd> {
        // The sandbox sees the folder and not the one above, so nothing else can be in its place.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.anchor, "work", flags, Mode::empty())?)
    }

    /// Whether its image takes little of the host's disk.
    fn is_small(&self) -> bool {
        fstat(&self.image).is_ok_and(|status| status.st_blocks.cast_unsigned().saturating_mul(512) <= MOST_TAKEN)
    }

    /// Whether nothing is in it, nor was: as far as the kernel counts.
    fn is_pristine(&self) -> bool {
        left(&self.anchor).is_ok_and(|left| left == self.pristine)
    }

    /// Removes `files` and the writable folders.
    ///
    /// A program may have put links and other things in their places: none is followed, and what it added makes a
    /// folder remain, or the counts differ. The folders go because they carry attributes and times.
    fn clear(&self, files: &[PathBuf]) -> Result<(), Errno> {
        for file in files {
            let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else { continue };
            let within =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let Ok(folder) = openat2(&self.anchor, parent, flags, Mode::empty(), within) else { continue };
            if unlinkat(&folder, name, AtFlags::empty()).is_err() {
                // A folder, or gone.
                let _ = unlinkat(&folder, name, AtFlags::REMOVEDIR);
            }
        }
        for (_, folder) in WRITABLE {
            unlinkat(&self.anchor, folder, AtFlags::REMOVEDIR)?;
        }
        Ok(())
    }
}

/// Blocks and inodes that are free.
fn left(mount: &OwnedFd) -> Result<(u64, u64), Errno> {
    fstatvfs(mount).map(|usage| (usage.f_bfree, usage.f_ffree))
}

/// Nobody else may lay a filesystem there for the kernel to mount.
fn check_private(folder: &Path) -> io::Result<()> {
    if fs::symlink_metadata(folder)?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

/// The device, and a mount of what is on it.
fn mount_image(image: impl AsFd) -> Result<(String, OwnedFd), Errno> {
    let (path, device) = loop_device::attach(image)?;
    let mount = mount_device(&path)?;
    drop(device);
    Ok((path, mount))
}

/// A mount of the filesystem on a device; another one of the same filesystem where there is one.
fn mount_device(path: &str) -> Result<OwnedFd, Errno> {
    let context = fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", path)?;
    // Barriers guard against a power failure, after which nobody will look at this filesystem.
    for flag in ["nobarrier", "noinit_itable"] {
        fsconfig_set_flag(&context, flag)?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, harmless())
}

fn make_folder(mount: &OwnedFd, name: &str, host_uid: u32) -> Result<(), Errno> {
    mkdirat(mount, name, Mode::from_raw_mode(0o755))?;
    let owner = (Some(Uid::from_raw(host_uid)), Some(Gid::from_raw(host_uid)));
    chownat(mount, name, owner.0, owner.1, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{XattrFlags, fsetxattr, symlinkat};

    use super::*;

    const SIZE: (u64, u64) = (1 << 30, 65_536);

    /// Whether a disk is used again after `change` was done in the first one's `/work`.
    fn is_kept(change: impl FnOnce(&OwnedFd)) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let disks = DiskImages::new(folder.path().join("disks")).unwrap();
        let (disk, mount) = disks.create(SIZE.0, SIZE.1, 4711).unwrap();
        let work = openat(&mount, "work", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        change(&work);
        drop((work, mount));
        disks.give_back(disk, &["work/main.py".into(), "tmp/a/b".into(), "tmp/a".into()]);
        let settled = || disks.idle().iter().any(|(_, disk)| disk.is_pristine());
        let kept = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(2));
            settled()
        });
        if kept {
            // What the next one finds: empty folders of its own.
            let (_disk, mount) = disks.create(SIZE.0, SIZE.1, 4712).unwrap();
            assert!(disks.idle().is_empty());
            let work = openat(&mount, "work", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
            let status = fstat(&work).unwrap();
            assert_eq!((status.st_uid, status.st_mode & 0o7777, status.st_nlink), (4712, 0o755, 2));
            assert_eq!(rustix::fs::flistxattr(&work, &mut [0_u8; 64]).unwrap(), 0);
            assert_eq!(rustix::fs::Dir::read_from(&work).unwrap().count(), 2);
        }
        kept
    }

    fn write(folder: &OwnedFd, name: &str, content: &[u8]) {
        let file = openat(folder, name, OFlags::WRONLY | OFlags::CREATE, Mode::from_raw_mode(0o644)).unwrap();
        rustix::io::write(&file, content).unwrap();
    }

    #[test]
    fn a_disk_is_used_again_when_nothing_was_left_in_it() {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            eprintln!("not tried: only root may mount a disk image, on a host with loop devices");
            return;
        }
        assert!(is_kept(|_| {}));
        assert!(is_kept(|work| write(work, "main.py", b"print(1)")));
        assert!(is_kept(|work| {
            write(work, "big", &vec![7; 1 << 20]);
            unlinkat(work, "big", AtFlags::empty()).unwrap();
        }));
        // What hides in a folder itself goes with it.
        assert!(is_kept(|work| fsetxattr(work, "user.secret", b"kept?", XattrFlags::empty()).unwrap()));
        assert!(is_kept(|work| rustix::fs::fchmod(work, Mode::from_raw_mode(0o777)).unwrap()));
    }

    #[test]
    fn a_disk_with_anything_in_it_is_not() {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            eprintln!("not tried: only root may mount a disk image, on a host with loop devices");
            return;
        }
        assert!(!is_kept(|work| write(work, "other", b"secret")));
        let big = |work: &OwnedFd| {
            write(work, "big", &vec![7; 8 << 20]);
            let file = openat(work, "big", OFlags::RDONLY, Mode::empty()).unwrap();
            rustix::fs::fsync(&file).unwrap();
            unlinkat(work, "big", AtFlags::empty()).unwrap();
        };
        assert!(!is_kept(big), "its image takes the host's disk");
        assert!(!is_kept(|work| mkdirat(work, "main.py", Mode::from_raw_mode(0o755))
            .and_then(|()| mkdirat(work, "main.py/a", Mode::from_raw_mode(0o755)))
            .unwrap()));
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("b"), "of the host").unwrap();
        // It has the name of a folder that is removed: the link is, and not what it leads to.
        assert!(is_kept(|work| symlinkat(outside.path(), work, "../tmp/a").unwrap()));
        assert!(outside.path().join("b").exists(), "no link is followed");
        let held = std::cell::RefCell::new(None);
        assert!(
            !is_kept(|work| {
                write(work, "held", b"secret");
                let file = openat(work, "held", OFlags::RDONLY, Mode::empty()).unwrap();
                unlinkat(work, "held", AtFlags::empty()).unwrap();
                held.replace(Some(file));
            }),
            "an open file without a name is left"
        );
    }

    #[test]
    fn what_is_kept_is_removed_after_a_while() {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            eprintln!("not tried: only root may mount a disk image, on a host with loop devices");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let disks = DiskImages::new(folder.path().join("disks")).unwrap();
        let (disk, mount) = disks.create(SIZE.0, SIZE.1, 4711).unwrap();
        drop(mount);
        disks.give_back(disk, &[]);
        disks.trim();
        assert_eq!(disks.idle().len(), 1);
        if let Some((since, _)) = disks.idle().first_mut() {
            *since -= IDLE_FOR;
        }
        disks.trim();
        assert!(disks.idle().is_empty());
    }
}
