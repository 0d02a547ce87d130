//! The files that a program left in its folder.
//!
//! Every process of the program is dead, so what is there does not change any more; all of it may be made to hurt. The
//! only way in is a descriptor of the folder that is older than the program. No link is followed, nothing but regular
//! files is opened, and how much is looked at, read and kept, and for how long, does not depend on what is there.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use aevatar_sandbox_contract::{
    CollectedFile, CollectedFiles, ExecutionPlan, FileLimits, InputFile, OutputFile, SkipReason, SkippedFile,
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, fstat, openat2, statat},
    io::Errno,
};
use sha2::{Digest as _, Sha256};

use crate::media_type::media_type;

/// Where a program's source is below the folder.
const PROGRAM_FILE: &str = "main.py";
/// Nobody imports bytecode from a result; CPython leaves it beside each module of the program's own.
const BYTECODE: &[u8] = b"__pycache__";
/// Bytes that are read at once; between two pieces the clock is looked at.
const PIECE: usize = 128 * 1024;
/// Bytes of a folder's entries that the kernel gives at once.
const ENTRIES: usize = 32 * 1024;
/// A folder that takes more bytes for its entries is not listed: the kernel goes through all of them in one call, those
/// that were removed as well, and nothing can break that off. Ten thousand files with the longest names take 3 MB.
const MAX_FOLDER_BYTES: u64 = 8 << 20;

/// Bytes of files, and of a folder's entries, that are looked at without a thread of its own.
const MAX_AT_ONCE: usize = 64 * 1024;

/// What is to be collected.
#[derive(Clone, Debug)]
pub(crate) struct Collection {
    pub(crate) limits: FileLimits,
    /// What was there before the program started, itself included.
    pub(crate) known: Vec<InputFile>,
}

impl Collection {
    /// What is to be collected of an execution, if anything is.
    pub(crate) fn of(execution: &ExecutionPlan) -> Option<Self> {
        let limits = execution.output_files?;
        let program = InputFile { path: PROGRAM_FILE.to_owned(), content: execution.code.clone() };
        Some(Self { limits, known: std::iter::once(program).chain(execution.files.iter().cloned()).collect() })
    }
}

/// Why something, or the rest of everything, is not taken.
enum Stop {
    /// The one that is looked at.
    Skip(SkipReason),
    /// All that has not been looked at yet.
    Everything(SkipReason),
}

struct Walk<'a> {
    root: &'a OwnedFd,
    limits: FileLimits,
    known: HashMap<&'a str, &'a [u8]>,
    deadline: Instant,
    entries_left: u32,
    total: u64,
    found: CollectedFiles,
}

/// Names in a folder, as the kernel has them.
type Names = Vec<Vec<u8>>;

/// A folder that was found: relative to the root, with nothing at its end.
struct Folder {
    path: String,
    depth: u32,
}

/// Collects below `root`. Blocks, at most a moment longer than the limit.
pub(crate) fn collect(root: &OwnedFd, wanted: &Collection) -> CollectedFiles {
    let limits = wanted.limits;
    let mut walk = Walk {
        root,
        limits,
        known: wanted.known.iter().map(|file| (file.path.as_str(), file.content.as_slice())).collect(),
        deadline: Instant::now() + Duration::from_millis(limits.max_time_ms),
        entries_left: limits.max_entries,
        total: 0,
        found: CollectedFiles::default(),
    };
    // A stack and no recursion: how deep it goes is not the program's to say.
    let mut folders = vec![Folder { path: String::new(), depth: 0 }];
    while let Some(folder) = folders.pop() {
        match walk.look_into(&folder, &mut folders) {
            Ok(()) => {}
            Err(Stop::Skip(reason)) => walk.skip(folder.path, reason),
            Err(Stop::Everything(reason)) => {
                walk.stop(folder.path, reason);
                break;
            }
        }
    }
    walk.found.files.sort_by(|one, other| one.file.path.cmp(&other.file.path));
    walk.found.skipped.sort_by(|one, other| one.path.cmp(&other.path));
    walk.found
}

/// Whether nothing but what was there before is there, where that can be seen at once: as a rule a program leaves
/// nothing, and then no thread need be woken to look. What it costs does not depend on the program.
pub(crate) fn is_untouched(root: &OwnedFd, wanted: &Collection) -> bool {
    let known = &wanted.known;
    let is_small = known.iter().map(|file| file.content.len()).sum::<usize>() <= MAX_AT_ONCE;
    is_small && !known.iter().any(|file| file.path.contains('/')) && look_at_once(root, known).unwrap_or(false)
}

fn look_at_once(root: &OwnedFd, known: &[InputFile]) -> Result<bool, Stop> {
    let folder = open_beneath(root, b".", OFlags::DIRECTORY)?;
    if size(&fstat(&folder).map_err(unreadable)?) > MAX_AT_ONCE as u64 {
        return Ok(false);
    }
    let mut buffer = Vec::<u8>::with_capacity(ENTRIES);
    let mut entries = RawDir::new(&folder, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let Some(before) = known.iter().find(|file| file.path.as_bytes() == name) else { return Ok(false) };
        let status = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(unreadable)?;
        let is_file = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
        if !is_file || size(&status) != before.content.len() as u64 {
            return Ok(false);
        }
        let file = open_beneath(&folder, name, OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let mut content = vec![0_u8; before.content.len()];
        // What comes in pieces is left to who has the time.
        let count = rustix::io::read(&file, content.as_mut_slice()).map_err(unreadable)?;
        if count != content.len() || content != before.content {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Walk<'_> {
    /// Takes the files of a folder, and adds the folders in it to `folders`.
    fn look_into(&mut self, folder: &Folder, folders: &mut Vec<Folder>) -> Result<(), Stop> {
        self.check_time()?;
        let path = if folder.path.is_empty() { "." } else { &folder.path };
        let opened = open_beneath(self.root, path.as_bytes(), OFlags::DIRECTORY)?;
        let status = fstat(&opened).map_err(unreadable)?;
        if size(&status) > MAX_FOLDER_BYTES {
            return Err(Stop::Skip(SkipReason::TooMany));
        }
        let (mut names, rest) = self.list(&opened)?;
        // What is taken when not everything can be is the same every time.
        names.sort_unstable();
        let mut inner = Vec::new();
        for name in names {
            let shown = String::from_utf8_lossy(&name);
            let path = if folder.path.is_empty() { shown.to_string() } else { format!("{}/{shown}", folder.path) };
            match self.look_at(&opened, &name, &path, folder.depth) {
                Ok(None) => {}
                Ok(Some(found)) => inner.push(found),
                Err(Stop::Skip(reason)) => self.skip(path, reason),
                Err(Stop::Everything(reason)) => {
                    self.stop(path, reason);
                    return Err(Stop::Everything(reason));
                }
            }
        }
        folders.extend(inner.into_iter().rev());
        rest
    }

    /// The names in a folder, and whether more are there than may be looked at.
    fn list(&mut self, folder: &OwnedFd) -> Result<(Names, Result<(), Stop>), Stop> {
        let mut buffer = Vec::<u8>::with_capacity(ENTRIES);
        let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            self.check_time()?;
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let Some(left) = self.entries_left.checked_sub(1) else {
                return Ok((names, Err(Stop::Everything(SkipReason::TooMany))));
            };
            self.entries_left = left;
            names.push(name.to_vec());
        }
        Ok((names, Ok(())))
    }

    /// Takes one file; a folder is returned, to be looked into later.
    fn look_at(&mut self, folder: &OwnedFd, name: &[u8], path: &str, depth: u32) -> Result<Option<Folder>, Stop> {
        self.check_time()?;
        let status = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(unreadable)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory if name == BYTECODE => Ok(None),
            _ if std::str::from_utf8(name).is_err() => Err(Stop::Skip(SkipReason::NameNotUtf8)),
            FileType::Directory if depth >= self.limits.max_depth => Err(Stop::Skip(SkipReason::TooDeep)),
            FileType::Directory => Ok(Some(Folder { path: path.to_owned(), depth: depth + 1 })),
            FileType::RegularFile => self.take(folder, name, path, size(&status)).map(|()| None),
            _ => Err(Stop::Skip(SkipReason::NotRegular)),
        }
    }

    fn take(&mut self, folder: &OwnedFd, name: &[u8], path: &str, size: u64) -> Result<(), Stop> {
        let limits = self.limits;
        // One of the same size as before has to be read, whatever the limits are: it came with the request.
        let known = self.known.get(path).copied().filter(|known| known.len() as u64 == size);
        let excess = if self.found.files.len() as u64 >= u64::from(limits.max_files) {
            Some(SkipReason::TooMany)
        } else if size > limits.max_file_bytes {
            Some(SkipReason::TooLarge)
        } else if self.total.saturating_add(size) > limits.max_total_bytes {
            Some(SkipReason::TotalTooLarge)
        } else {
            None
        };
        if let (None, Some(reason)) = (known, excess) {
            return Err(Stop::Skip(reason));
        }
        let file = open_beneath(folder, name, OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let status = fstat(&file).map_err(unreadable)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(Stop::Skip(SkipReason::NotRegular));
        }
        let (content, sha256) = self.read(&file, size)?;
        if known.is_some_and(|known| known == content) {
            return Ok(());
        }
        if let Some(reason) = excess {
            return Err(Stop::Skip(reason));
        }
        self.total += content.len() as u64;
        let file = OutputFile {
            path: path.to_owned(),
            size: content.len() as u64,
            mime_type: media_type(path, &content),
            sha256,
            content: None,
        };
        self.found.files.push(CollectedFile { file, content });
        Ok(())
    }

    /// At most `size` bytes: what a file claims to have was looked at before, holes included.
    fn read(&self, file: &OwnedFd, size: u64) -> Result<(Vec<u8>, String), Stop> {
        let size = usize::try_from(size).map_err(|_| Stop::Skip(SkipReason::TooLarge))?;
        let mut content = vec![0_u8; size];
        let mut hash = Sha256::new();
        let mut filled = 0;
        while filled < size {
            self.check_time()?;
            let end = size.min(filled + PIECE);
            let Some(piece) = content.get_mut(filled..end) else { break };
            let count = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut *piece)).map_err(unreadable)?;
            if count == 0 {
                break;
            }
            hash.update(piece.get(..count).unwrap_or_default());
            filled += count;
        }
        content.truncate(filled);
        Ok((content, format!("{:x}", hash.finalize())))
    }

    fn check_time(&self) -> Result<(), Stop> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(Stop::Everything(SkipReason::TimedOut)) }
    }

    fn skip(&mut self, path: String, reason: SkipReason) {
        if self.found.skipped.len() as u64 >= u64::from(self.limits.max_files) {
            return;
        }
        self.found.skipped.push(SkippedFile { path: shown(path), reason });
    }

    /// Tells where it stopped, even if something else has to go for it.
    fn stop(&mut self, path: String, reason: SkipReason) {
        if self.found.skipped.iter().any(|skipped| skipped.reason == reason && reason == SkipReason::TimedOut) {
            return;
        }
        let most = usize::try_from(self.limits.max_files).unwrap_or(usize::MAX).max(1) - 1;
        self.found.skipped.truncate(most);
        self.found.skipped.push(SkippedFile { path: shown(path), reason });
    }
}

fn shown(path: String) -> String {
    if path.is_empty() { ".".to_owned() } else { path }
}

/// Opens what is at `path` below `folder`, without following a link and without going to another filesystem.
fn open_beneath(folder: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Stop> {
    let within =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(folder, path, flags, Mode::empty(), within).map_err(|errno| match errno {
        Errno::LOOP => Stop::Skip(SkipReason::NotRegular),
        errno => unreadable(errno),
    })
}

fn unreadable(_errno: Errno) -> Stop {
    Stop::Skip(SkipReason::Unreadable)
}

fn size(status: &Stat) -> u64 {
    u64::try_from(status.st_size).unwrap_or(0)
}

#[cfg(test)]
mod tests;
