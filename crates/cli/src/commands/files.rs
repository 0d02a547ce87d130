//! Files of `run`: those that a program gets, and the folder where those that it leaves are saved.

use std::{
    fmt::Write as _,
    io::Write as _,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
};

use aevatar_sandbox::{CollectedFile, ExecutionId, InputFile, SandboxExecutionResult, SkipReason};
use anyhow::{Context, bail};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, renameat, unlinkat},
    io::Errno,
};

/// Reads what `--input` names: a file, or a file and where it goes, with a colon between them.
pub(crate) fn read_input(argument: &str) -> anyhow::Result<InputFile> {
    // A colon may be a part of the file's own name.
    let (file, path) = match argument.rsplit_once(':') {
        Some((file, path)) if !Path::new(argument).exists() => (file, Some(path)),
        _ => (argument, None),
    };
    let content = fs_err::read(file)?;
    let path = match path {
        Some(path) => path.to_owned(),
        None => match Path::new(file).file_name().and_then(|name| name.to_str()) {
            Some(name) => name.to_owned(),
            None => bail!("`{file}` has no name below `/work`: give one, as in `{file}:input.csv`"),
        },
    };
    Ok(InputFile { path, content })
}

/// The folder of `--output-dir`.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    path: PathBuf,
    folder: OwnedFd,
}

impl OutputFolder {
    /// Opens the folder, which is made if need be.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        fs_err::create_dir_all(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            openat(CWD, path, flags, Mode::empty()).with_context(|| format!("could not open `{}`", path.display()))?;
        Ok(Self { path: path.to_owned(), folder })
    }

    /// Saves what a program left; the first that could not be saved ends it.
    pub(crate) fn save(&self, id: ExecutionId, files: &[CollectedFile]) -> anyhow::Result<()> {
        for (number, collected) in files.iter().enumerate() {
            let path = Path::new(&collected.file.path);
            self.save_one(path, &collected.content, &format!(".{id}-{number}.partial"))
                .with_context(|| format!("could not save `{}`", printable(&collected.file.path)))?;
        }
        Ok(())
    }

    /// Whole or not at all, and never through a link: neither that a program chose its name nor that somebody has put
    /// something into the folder makes it write elsewhere.
    fn save_one(&self, path: &Path, content: &[u8], draft: &str) -> Result<(), Errno> {
        let Some(name) = path.file_name() else { return Err(Errno::INVAL) };
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let mut folder = self.folder.try_clone().map_err(|_| Errno::MFILE)?;
        for part in path.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(part) = part else { return Err(Errno::INVAL) };
            match mkdirat(&folder, part, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = openat2(&folder, part, flags, Mode::empty(), within)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&folder, draft, flags, Mode::from_raw_mode(0o666))?;
        let saved = std::fs::File::from(file)
            .write_all(content)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .and_then(|()| renameat(&folder, draft, &folder, name));
        if saved.is_err() {
            // Half a file is none.
            let _ = unlinkat(&folder, draft, AtFlags::empty());
        }
        saved
    }

    /// What was saved and what was not taken, a line each.
    pub(crate) fn told(&self, result: &SandboxExecutionResult) -> String {
        let mut text = String::new();
        for file in &result.files {
            let path = self.path.join(&file.path);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "saved: {} ({} bytes)", printable(&path.to_string_lossy()), file.size);
        }
        for skipped in &result.skipped_files {
            let _ = writeln!(text, "not saved: {}: {}", printable(&skipped.path), reason(skipped.reason));
        }
        text
    }
}

const fn reason(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::NotRegular => "it is no file",
        SkipReason::TooLarge => "it is too large",
        SkipReason::TotalTooLarge => "all files together are too large",
        SkipReason::TooMany => "there are too many",
        SkipReason::TooDeep => "folders are too deep within each other",
        SkipReason::NameNotUtf8 => "its name is no UTF-8",
        SkipReason::TimedOut => "looking at the files took too long",
        _ => "it cannot be read",
    }
}

/// A program's words for a terminal: what would move its cursor or turn its letters is written out.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\'' | '"' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use aevatar_sandbox::OutputFile;

    use super::*;

    fn collected(path: &str, content: &str) -> CollectedFile {
        let file = OutputFile {
            path: path.to_owned(),
            size: content.len() as u64,
            mime_type: String::new(),
            sha256: String::new(),
            content: None,
        };
        CollectedFile { file, content: content.into() }
    }

    fn save(folder: &Path, path: &str) -> anyhow::Result<()> {
        OutputFolder::open(folder)?.save(ExecutionId::generate(), &[collected(path, "new")])
    }

    #[test]
    fn files_are_saved_in_their_folders() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a/b");
        save(&target, "c/d/e.txt").unwrap();
        assert_eq!(fs_err::read_to_string(target.join("c/d/e.txt")).unwrap(), "new");
        // A file of the same name is replaced.
        fs_err::write(target.join("old"), "old, and longer").unwrap();
        save(&target, "old").unwrap();
        assert_eq!(fs_err::read_to_string(target.join("old")).unwrap(), "new");
        assert_eq!(fs_err::read_dir(&target).unwrap().count(), 2, "no drafts are left");
    }

    #[test]
    fn nothing_is_written_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let (target, outside) = (folder.path().join("target"), folder.path().join("outside"));
        fs_err::create_dir_all(target.join("folder")).unwrap();
        fs_err::create_dir(&outside).unwrap();
        fs_err::write(outside.join("file"), "old").unwrap();
        symlink(&outside, target.join("link")).unwrap();
        symlink(outside.join("file"), target.join("file")).unwrap();
        for path in ["../outside/x", "/tmp/x", "link/x", "a/../../x", "..", "folder", "."] {
            assert!(save(&target, path).is_err(), "{path}");
        }
        // A link of that name is replaced, and not followed.
        save(&target, "file").unwrap();
        assert!(!target.join("file").is_symlink());
        assert_eq!(fs_err::read_to_string(outside.join("file")).unwrap(), "old");
        assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 2);
        // The positive control: through the link one does get there.
        fs_err::write(target.join("link/x"), "x").unwrap();
        assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 2);
    }

    #[test]
    fn names_do_not_reach_the_terminal_as_they_are() {
        assert_eq!(printable("a b/\u{e4}'\".txt"), "a b/\u{e4}'\".txt");
        assert_eq!(printable("a\nsaved: b\x1b[2J\u{202e}"), "a\\nsaved: b\\u{1b}[2J\\u{202e}");
    }

    #[test]
    fn an_input_has_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["a.csv", "b:c"] {
            fs_err::write(at(name), name).unwrap();
        }
        let read = |argument: &str| read_input(argument).map(|file| (file.path, file.content));
        assert_eq!(read(&at("a.csv")).unwrap(), ("a.csv".to_owned(), b"a.csv".to_vec()));
        assert_eq!(read(&at("b:c")).unwrap(), ("b:c".to_owned(), b"b:c".to_vec()));
        assert_eq!(read(&at("a.csv:data/x.csv")).unwrap(), ("data/x.csv".to_owned(), b"a.csv".to_vec()));
        assert_eq!(read(&at("b:c:d")).unwrap(), ("d".to_owned(), b"b:c".to_vec()));
        assert!(read(&at("absent")).is_err());
        assert!(read(folder.path().to_str().unwrap()).is_err());
    }
}
