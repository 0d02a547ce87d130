//! Servers that share an SQLite database: each holds a lock on a file of its own, which the kernel lets go when the
//! server dies.
//!
//! A file is made and locked before its server is named in the database, and removed only by who holds its lock. So a
//! server without a file is dead, too.

use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::{
    fs::{FlockOperation, Mode, flock, fstat, mkdir},
    io::Errno,
};

use super::ServerId;

/// Folder of the locks, beside the database.
const FOLDER: &str = "servers";

fn path_of(folder: &Path, server: ServerId) -> PathBuf {
    folder.join(FOLDER).join(format!("{server}.lock"))
}

/// `false` when somebody else has it.
fn try_lock(file: impl AsFd) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// This server's own.
#[derive(Debug)]
pub(crate) struct LockFile {
    id: ServerId,
    file: fs_err::File,
}

impl LockFile {
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        match mkdir(folder.join(FOLDER), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        loop {
            let id = ServerId::generate();
            let path = path_of(folder, id);
            let file = fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            // Between the two lines, another server may have found the file without a lock, and removed it.
            if try_lock(&file)? && fstat(&file)?.st_nlink > 0 {
                return Ok(Self { id, file });
            }
        }
    }

    pub(super) const fn id(&self) -> ServerId {
        self.id
    }

    /// Another server may do so instead, later.
    pub(super) fn remove(&self) {
        if let Err(error) = fs_err::remove_file(self.file.path()) {
            tracing::debug!(%error, "a lock of this server stays");
        }
    }
}

/// Whether a server is dead.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It lives, or somebody else looks after it at this moment.
    Refused,
    /// It is dead; the lock, as far as there is one, is ours.
    Granted(Option<fs_err::File>),
}

/// Tries to have the lock of a server that may be dead. It is let go when the claim is dropped.
pub(crate) fn claim(folder: &Path, server: ServerId) -> io::Result<Claim> {
    claim_path(&path_of(folder, server))
}

fn claim_path(path: &Path) -> io::Result<Claim> {
    let file = match fs_err::OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Claim::Granted(None)),
        Err(error) => return Err(error),
    };
    Ok(if try_lock(&file)? { Claim::Granted(Some(file)) } else { Claim::Refused })
}

/// Removes the files of servers that are dead.
pub(crate) fn remove_stale(folder: &Path) -> io::Result<()> {
    for entry in fs_err::read_dir(folder.join(FOLDER))? {
        let path = entry?.path();
        if let Claim::Granted(Some(_held)) = claim_path(&path)? {
            match fs_err::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
