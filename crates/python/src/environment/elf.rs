//! Reads the one ELF header that names a program's dynamic loader.

use std::ffi::OsStr;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const HEADER_LENGTH: usize = 64;
const PROGRAM_HEADER_LENGTH: usize = 56;
const PT_INTERP: u32 = 3;
/// Longest path that is believed, in bytes.
const MAX_LOADER_PATH: u64 = 4096;

/// The path in the program's `PT_INTERP` header, or nothing if it has none (a shared library, a static program).
///
/// # Errors
///
/// `InvalidData` if the file is not a 64-bit little-endian ELF file.
pub(super) fn dynamic_loader(program: &Path) -> io::Result<Option<PathBuf>> {
    let mut file = fs_err::File::open(program)?;
    let mut header = [0; HEADER_LENGTH];
    file.read_exact(&mut header)?;
    // Magic, 64-bit, little-endian: the only kind on the supported machines.
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Err(invalid("not a 64-bit little-endian ELF file"));
    }
    let offset = u64_at(&header, 32)?;
    let entry_length = u16_at(&header, 54)?;
    let entries = u16_at(&header, 56)?;
    if usize::from(entry_length) < PROGRAM_HEADER_LENGTH {
        return Err(invalid("program headers are too short"));
    }
    for index in 0..entries {
        let at = u64::from(index)
            .checked_mul(u64::from(entry_length))
            .and_then(|distance| offset.checked_add(distance))
            .ok_or_else(|| invalid("program headers lie outside the file"))?;
        file.seek(SeekFrom::Start(at))?;
        let mut entry = [0; PROGRAM_HEADER_LENGTH];
        file.read_exact(&mut entry)?;
        if u32_at(&entry, 0)? == PT_INTERP {
            return read_path(&mut file, u64_at(&entry, 8)?, u64_at(&entry, 32)?).map(Some);
        }
    }
    Ok(None)
}

/// Whether the file starts like an ELF file.
pub(super) fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    fs_err::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

fn read_path(file: &mut fs_err::File, offset: u64, length: u64) -> io::Result<PathBuf> {
    if length > MAX_LOADER_PATH {
        return Err(invalid("the loader's path is too long"));
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut path = Vec::new();
    file.take(length).read_to_end(&mut path)?;
    let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
    let path = PathBuf::from(OsStr::from_bytes(&path[..end]));
    if path.is_absolute() { Ok(path) } else { Err(invalid("the loader's path is not absolute")) }
}

fn bytes_at<const N: usize>(header: &[u8], offset: usize) -> io::Result<[u8; N]> {
    header
        .get(offset..offset + N)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| invalid("a header is too short"))
}

fn u16_at(header: &[u8], offset: usize) -> io::Result<u16> {
    bytes_at(header, offset).map(u16::from_le_bytes)
}

fn u32_at(header: &[u8], offset: usize) -> io::Result<u32> {
    bytes_at(header, offset).map(u32::from_le_bytes)
}

fn u64_at(header: &[u8], offset: usize) -> io::Result<u64> {
    bytes_at(header, offset).map(u64::from_le_bytes)
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with one program header at offset 64 and `path` right behind it.
    fn program(kind: u32, path: &[u8]) -> Vec<u8> {
        let mut file = vec![0; HEADER_LENGTH + PROGRAM_HEADER_LENGTH];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[54..56].copy_from_slice(&56_u16.to_le_bytes());
        file[56..58].copy_from_slice(&1_u16.to_le_bytes());
        file[64..68].copy_from_slice(&kind.to_le_bytes());
        file[72..80].copy_from_slice(&120_u64.to_le_bytes());
        file[96..104].copy_from_slice(&(path.len() as u64).to_le_bytes());
        file.extend_from_slice(path);
        file
    }

    fn loader_of(content: &[u8]) -> io::Result<Option<PathBuf>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        fs_err::write(&path, content).unwrap();
        dynamic_loader(&path)
    }

    #[test]
    fn names_the_loader() {
        let loader = loader_of(&program(PT_INTERP, b"/lib64/ld.so\0")).unwrap();
        assert_eq!(loader, Some(PathBuf::from("/lib64/ld.so")));
    }

    #[test]
    fn a_static_program_has_none() {
        assert_eq!(loader_of(&program(1, b"/lib64/ld.so\0")).unwrap(), None);
    }

    #[test]
    fn damaged_files_are_refused() {
        let mut far_headers = program(PT_INTERP, b"/lib64/ld.so\0");
        far_headers[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        let mut long_path = program(PT_INTERP, b"/lib64/ld.so\0");
        long_path[96..104].copy_from_slice(&u64::MAX.to_le_bytes());
        let relative = program(PT_INTERP, b"ld.so\0");
        for damaged in [&b""[..], b"#!/bin/sh\n", &program(PT_INTERP, b"")[..90], &far_headers, &long_path, &relative] {
            assert!(loader_of(damaged).is_err());
        }
    }

    #[test]
    fn the_test_program_itself_has_a_loader_that_exists() {
        let loader = dynamic_loader(&std::env::current_exe().unwrap()).unwrap();
        if let Some(loader) = loader {
            assert!(loader.exists());
        }
    }
}
