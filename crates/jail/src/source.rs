//! What is in a sandbox's folder before its program starts: the program and its input files, packed by the server into a
//! file without a name, and unpacked by init under the sandbox's own id and limits.
//!
//! A length in four bytes, a postcard list with the size of the program and the names and sizes of the files, and then
//! everything that is in them, in that order. Both ends are this same binary.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{MemfdFlags, Mode, OFlags, memfd_create, open},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::root::{make_parent, write_all};

/// What is read and written at once.
const PIECE: usize = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    program: u64,
    /// Relative to the program's folder.
    files: Vec<(String, u64)>,
}

/// Packs a program and the files beside it: paths relative to the program's folder, without `.` and `..`, none of them
/// another one's folder, and what is in them. The descriptor can only be read.
///
/// # Errors
/// No descriptors or no memory left.
pub fn pack(program: &[u8], files: &[(&str, &[u8])]) -> io::Result<OwnedFd> {
    let size = |content: &[u8]| content.len() as u64;
    let listed = files.iter().map(|(path, content)| ((*path).to_owned(), size(content))).collect();
    let contents =
        postcard::to_stdvec(&Contents { program: size(program), files: listed }).map_err(io::Error::other)?;
    let length = u32::try_from(contents.len()).map_err(io::Error::other)?;
    let memory = memfd_create("program", MemfdFlags::CLOEXEC)?;
    // A second, read-only description: the sandbox's init must not be able to change what the server holds.
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let reader = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut writer = File::from(memory);
    writer.write_all(&[&length.to_le_bytes(), contents.as_slice(), program].concat())?;
    for (_, content) in files {
        writer.write_all(content)?;
    }
    Ok(reader)
}

/// Writes what was packed: the program where `program_path` says, the files beside it. Nobody else is there yet.
///
/// # Errors
/// As the kernel says; `ENOSPC` where it does not fit.
pub(crate) fn unpack(packed: &OwnedFd, program_path: &Path) -> Result<(), Errno> {
    let mut offset = 0;
    let mut length = [0_u8; 4];
    read_exactly(packed, &mut length, &mut offset)?;
    let mut contents = vec![0_u8; usize::try_from(u32::from_le_bytes(length)).map_err(|_| Errno::INVAL)?];
    read_exactly(packed, &mut contents, &mut offset)?;
    let contents: Contents = postcard::from_bytes(&contents).map_err(|_| Errno::BADMSG)?;
    let mut buffer = vec![0_u8; PIECE];
    write_one(packed, program_path, contents.program, &mut offset, &mut buffer)?;
    let folder = program_path.parent().ok_or(Errno::INVAL)?;
    for (path, size) in contents.files {
        let path = folder.join(path);
        make_parent(&path)?;
        write_one(packed, &path, size, &mut offset, &mut buffer)?;
    }
    Ok(())
}

fn write_one(packed: &OwnedFd, path: &Path, mut size: u64, offset: &mut u64, buffer: &mut [u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o644))?;
    while size > 0 {
        let wanted = usize::try_from(size).unwrap_or(usize::MAX).min(buffer.len());
        let piece = buffer.get_mut(..wanted).ok_or(Errno::IO)?;
        read_exactly(packed, piece, offset)?;
        write_all(&file, piece)?;
        size -= wanted as u64;
    }
    Ok(())
}

fn read_exactly(packed: &OwnedFd, mut target: &mut [u8], offset: &mut u64) -> Result<(), Errno> {
    while !target.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::pread(packed, &mut *target, *offset))?;
        if count == 0 {
            return Err(Errno::BADMSG);
        }
        *offset += count as u64;
        target = target.get_mut(count..).ok_or(Errno::IO)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_was_packed_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let big = vec![7_u8; 3 * PIECE + 1];
        let files: [(&str, &[u8]); 4] =
            [("a.txt", b"a"), ("empty", b""), ("data/deep/b.bin", big.as_slice()), ("data/\u{e4}\n", b"c")];
        let packed = pack(b"print(1)", &files).unwrap();
        assert!(rustix::io::write(&packed, b"x").is_err(), "it can only be read");
        unpack(&packed, &folder.path().join("main.py")).unwrap();
        assert_eq!(fs_err::read(folder.path().join("main.py")).unwrap(), b"print(1)");
        for (path, content) in files {
            let path = folder.path().join(path);
            assert_eq!(fs_err::read(&path).unwrap(), content);
            assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        }
        assert_eq!(fs_err::metadata(folder.path().join("data")).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn nothing_is_written_through_or_over_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.path().join("link")).unwrap();
        let packed = pack(b"1", &[("link", b"x")]).unwrap();
        assert_eq!(unpack(&packed, &folder.path().join("main.py")), Err(Errno::EXIST));
        assert_eq!(unpack(&packed, &folder.path().join("main.py")), Err(Errno::EXIST));
        assert!(!folder.path().join("elsewhere").exists());
    }
}
