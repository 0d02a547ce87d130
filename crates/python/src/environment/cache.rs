//! The directory in which environments live: its layout, its locks, and what is done to its files.

use std::fs::Metadata;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::EnvironmentError;

/// Longest record that is read back, in bytes.
const MAX_RECORD: u64 = 16 << 20;
/// Prefixes of directories that are being made or thrown away; a key follows.
const STAGING: &str = ".staging-";
const DISCARDED: &str = ".discarded-";

/// ```text
/// ROOT/interpreters.json              what each interpreter said about itself
/// ROOT/locks/KEY.lock                 held while KEY is prepared
/// ROOT/environments/NAME/KEY/         a ready environment
/// ROOT/environments/NAME/.staging-…   one that is being made, or was when its process died
/// ```
#[derive(Clone, Debug)]
pub(super) struct Cache {
    root: PathBuf,
}

/// An exclusive lock on one key; released when dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct KeyLock {
    _file: fs_err::File,
}

impl Cache {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn environments(&self) -> PathBuf {
        self.root.join("environments")
    }

    /// Where everything of one environment is.
    pub(super) fn of_name(&self, name: &str) -> PathBuf {
        self.environments().join(name)
    }

    /// Where one prepared state of an environment is.
    pub(super) fn of_key(&self, name: &str, key: &str) -> PathBuf {
        self.of_name(name).join(key)
    }

    /// Waits for the lock on `key`; `waiting` is called if another process (or thread) holds it.
    pub(super) fn lock(&self, key: &str, waiting: impl FnOnce()) -> Result<KeyLock, EnvironmentError> {
        if let Some(lock) = self.try_lock(key)? {
            return Ok(lock);
        }
        waiting();
        let (path, file) = self.lock_file(key)?;
        loop {
            match flock(file.file(), FlockOperation::LockExclusive) {
                Ok(()) => return Ok(KeyLock { _file: file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(EnvironmentError::filesystem("lock", &path, errno.into())),
            }
        }
    }

    fn try_lock(&self, key: &str) -> Result<Option<KeyLock>, EnvironmentError> {
        let (path, file) = self.lock_file(key)?;
        match flock(file.file(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(KeyLock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(EnvironmentError::filesystem("lock", &path, errno.into())),
        }
    }

    fn lock_file(&self, key: &str) -> Result<(PathBuf, fs_err::File), EnvironmentError> {
        let directory = self.root.join("locks");
        create_directory(&directory)?;
        let path = directory.join(format!("{key}.lock"));
        // Never deleted: another process may be waiting on the deleted file while a third locks a new one.
        let file = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|source| EnvironmentError::filesystem("open", &path, source))?;
        Ok((path, file))
    }

    /// An empty directory on the file system of the finished one; removed when dropped.
    pub(super) fn staging(&self, name: &str, key: &str) -> Result<tempfile::TempDir, EnvironmentError> {
        let directory = self.of_name(name);
        create_directory(&directory)?;
        tempfile::Builder::new()
            .prefix(&format!("{STAGING}{key}-"))
            .tempdir_in(&directory)
            .map_err(|source| EnvironmentError::filesystem("create a directory in", &directory, source))
    }

    /// Puts a finished staging directory in its place. A directory that is there already goes away.
    ///
    /// The caller holds the lock on `key`.
    pub(super) fn publish(
        &self,
        staging: tempfile::TempDir,
        name: &str,
        key: &str,
    ) -> Result<PathBuf, EnvironmentError> {
        let place = self.of_key(name, key);
        if place.exists() {
            self.discard(&place, key)?;
        }
        fs_err::rename(staging.path(), &place)
            .map_err(|source| EnvironmentError::filesystem("rename", staging.path(), source))?;
        // It has another name now: nothing is left to remove.
        let _renamed = staging.keep();
        Ok(place)
    }

    /// Removes a directory so that it is whole or gone for everyone who looks.
    fn discard(&self, directory: &Path, key: &str) -> Result<(), EnvironmentError> {
        let grave = tempfile::Builder::new()
            .prefix(&format!("{DISCARDED}{key}-"))
            .tempdir_in(directory.parent().unwrap_or(&self.root))
            .map_err(|source| EnvironmentError::filesystem("create a directory beside", directory, source))?;
        fs_err::rename(directory, grave.path().join("contents"))
            .map_err(|source| EnvironmentError::filesystem("rename", directory, source))?;
        grave.close().map_err(|source| EnvironmentError::filesystem("remove", directory, source))
    }

    /// Removes what dead processes left behind under `name`; `held` is the key that the caller has locked.
    ///
    /// A pip that outlived its parent may still write there until it notices: what cannot be removed now is left to
    /// the next sweep.
    pub(super) fn sweep(&self, name: &str, held: &str) -> Result<(), EnvironmentError> {
        for (key, path) in self.entries(name)?.unfinished {
            let _lock = if key == held {
                None
            } else {
                let Some(lock) = self.try_lock(&key)? else { continue };
                Some(lock)
            };
            remove_tree(&path).ok();
        }
        Ok(())
    }

    /// Removes every state of an environment but `kept`, as far as nobody prepares it right now.
    pub(super) fn retain(&self, name: &str, kept: &str) -> Result<(), EnvironmentError> {
        for (key, path) in self.entries(name)?.states {
            if key != kept
                && let Some(_lock) = self.try_lock(&key)?
            {
                self.discard(&path, &key)?;
            }
        }
        Ok(())
    }

    /// Removes an environment altogether, after whoever prepares it has finished.
    pub(super) fn remove(&self, name: &str) -> Result<(), EnvironmentError> {
        let entries = self.entries(name)?;
        let mut keys: Vec<_> = entries.states.into_iter().chain(entries.unfinished).map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        let _locks = keys.iter().map(|key| self.lock(key, || ())).collect::<Result<Vec<_>, _>>()?;
        self.discard(&self.of_name(name), name)
    }

    /// What is under `name`; nothing if there is no such directory.
    pub(super) fn entries(&self, name: &str) -> Result<Entries, EnvironmentError> {
        let mut entries = Entries::default();
        for path in list_directory(&self.of_name(name))? {
            let Some(file_name) = path.file_name().and_then(|file_name| file_name.to_str()) else { continue };
            let unfinished = file_name.strip_prefix(STAGING).or_else(|| file_name.strip_prefix(DISCARDED));
            if let Some(rest) = unfinished {
                let key = rest.split('-').next().unwrap_or_default();
                entries.unfinished.push((key.to_owned(), path));
            } else if path.is_dir() {
                entries.states.push((file_name.to_owned(), path));
            }
        }
        Ok(entries)
    }
}

/// What is found under the name of an environment, each with its key.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) states: Vec<(String, PathBuf)>,
    pub(super) unfinished: Vec<(String, PathBuf)>,
}

/// A record that [`write_json`] wrote; nothing if there is none, or none that this program can read.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, EnvironmentError> {
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(source) => return Err(EnvironmentError::filesystem("read", path, source)),
    };
    let mut text = Vec::new();
    file.take(MAX_RECORD)
        .read_to_end(&mut text)
        .map_err(|source| EnvironmentError::filesystem("read", path, source))?;
    Ok(serde_json::from_slice(&text).ok())
}

/// Replaces the file as a whole; readable by everyone, as everything in the cache.
pub(super) fn write_json<T: Serialize>(path: &Path, record: &T) -> Result<(), EnvironmentError> {
    let failed = |source| EnvironmentError::filesystem("write", path, source);
    let directory = path.parent().unwrap_or(Path::new("/"));
    create_directory(directory)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(failed)?;
    serde_json::to_writer_pretty(&mut file, record).map_err(|error| failed(error.into()))?;
    file.flush().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

pub(super) fn create_directory(path: &Path) -> Result<(), EnvironmentError> {
    fs_err::create_dir_all(path).map_err(|source| EnvironmentError::filesystem("create", path, source))
}

/// The entries of a directory, sorted; none if it does not exist.
pub(super) fn list_directory(path: &Path) -> Result<Vec<PathBuf>, EnvironmentError> {
    let failed = |source| EnvironmentError::filesystem("read", path, source);
    let entries = match fs_err::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.sort_unstable();
    Ok(paths)
}

pub(super) fn remove_tree(path: &Path) -> Result<(), EnvironmentError> {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EnvironmentError::filesystem("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Bytes that an ordinary user can still write on the file system of `path`.
pub(super) fn free_space(path: &Path) -> Result<u64, EnvironmentError> {
    let status = rustix::fs::statvfs(path)
        .map_err(|errno| EnvironmentError::filesystem("look up the free space of", path, errno.into()))?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// Calls `visit` for `root` and everything below it; links are not followed.
pub(super) fn walk(
    root: &Path,
    visit: &mut dyn FnMut(&Path, &Metadata) -> io::Result<()>,
) -> Result<(), EnvironmentError> {
    let metadata =
        fs_err::symlink_metadata(root).map_err(|source| EnvironmentError::filesystem("read", root, source))?;
    visit(root, &metadata).map_err(|source| EnvironmentError::filesystem("change", root, source))?;
    if metadata.is_dir() {
        for path in list_directory(root)? {
            walk(&path, visit)?;
        }
    }
    Ok(())
}

/// Lets everyone read a tree, whatever the umask was: the user of a sandbox is not the user of the cache.
pub(super) fn make_readable(root: &Path) -> Result<(), EnvironmentError> {
    walk(root, &mut |path, metadata| {
        let mode = metadata.mode() & 0o7777;
        let wanted = match metadata {
            one if one.is_symlink() => return Ok(()),
            one if one.is_dir() || mode & 0o100 != 0 => 0o755,
            _ => 0o644,
        };
        if mode == wanted { Ok(()) } else { fs_err::set_permissions(path, std::fs::Permissions::from_mode(wanted)) }
    })
}

/// Bytes that a tree takes on disk.
pub(super) fn size_on_disk(root: &Path) -> Result<u64, EnvironmentError> {
    let mut size = 0;
    walk(root, &mut |_, metadata| {
        size += metadata.blocks() * 512;
        Ok(())
    })?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_swept_and_what_a_living_one_makes_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().to_owned());
        let dead = cache.staging("one", "aa").unwrap().keep();
        let alive = cache.staging("one", "bb").unwrap().keep();
        let _lock = cache.lock("bb", || ()).unwrap();
        cache.sweep("one", "cc").unwrap();
        assert!(!dead.exists());
        assert!(alive.exists());
    }

    #[test]
    fn publishing_replaces_the_whole_directory() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().to_owned());
        for content in ["old", "new"] {
            let staging = cache.staging("one", "aa").unwrap();
            fs_err::write(staging.path().join(content), "").unwrap();
            cache.publish(staging, "one", "aa").unwrap();
        }
        let left = list_directory(&cache.of_name("one")).unwrap();
        assert_eq!(left, [cache.of_key("one", "aa")]);
        assert_eq!(list_directory(&left[0]).unwrap(), [left[0].join("new")]);
    }

    #[test]
    fn a_tree_becomes_readable_by_everyone() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs_err::create_dir(&tree).unwrap();
        let (data, program) = (tree.join("data"), tree.join("program"));
        for (path, mode) in [(&data, 0o600), (&program, 0o700), (&tree, 0o700)] {
            if path != &tree {
                fs_err::write(path, "").unwrap();
            }
            fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        make_readable(&tree).unwrap();
        let mode = |path: &Path| fs_err::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&tree), mode(&data), mode(&program)), (0o755, 0o644, 0o755));
    }

    #[test]
    fn a_record_that_cannot_be_read_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.json");
        assert_eq!(read_json::<u8>(&path).unwrap(), None);
        write_json(&path, &7).unwrap();
        assert_eq!(read_json::<u8>(&path).unwrap(), Some(7));
        fs_err::write(&path, "{").unwrap();
        assert_eq!(read_json::<u8>(&path).unwrap(), None);
    }
}
