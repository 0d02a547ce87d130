//! Files that go into a sandbox: what a request may send. And what of those that come out is in the result itself.

use std::{collections::BTreeSet, sync::Arc};

use aevatar_sandbox_contract::{
    CollectedFile, ErrorCode, FileLimits, ImportDecision, ImportPolicy, InputFile, OutputFiles, ResourceLimits,
    SandboxError, SandboxExecutionResult,
};

/// The folder where they go; a path may begin with it.
const FOLDER: &str = "/work/";
/// Where the program itself is.
const PROGRAM: &str = "main.py";
/// Files of one request.
const MAX_FILES: usize = 100;
/// Bytes of a path, and of a name in it: what Linux takes of a name, and a quarter of what it takes of a path.
const MAX_PATH: usize = 1024;
const MAX_NAME: usize = 255;
/// Names in a path: folders within each other, and the file.
const MAX_NAMES: usize = 16;
/// Bytes of all files of a request together, whatever the disk limit is: the server holds them while the program runs.
const MAX_BYTES: u64 = 64 << 20;

/// Checks the input files of a request, and brings their paths to the form that a plan has.
///
/// # Errors
/// `InvalidRequest`, which names the path and what is wrong with it.
pub(crate) fn check(files: Vec<InputFile>, limits: &ResourceLimits) -> Result<Vec<InputFile>, SandboxError> {
    if files.len() > MAX_FILES {
        return Err(refused(format!("{} `files` are more than {MAX_FILES}", files.len()))
            .with_hint("send an archive, and unpack it in the program"));
    }
    let mut names = BTreeSet::new();
    let mut checked = Vec::with_capacity(files.len());
    let mut total = 0_u64;
    for InputFile { path, content } in files {
        let inner = path.strip_prefix(FOLDER).unwrap_or(&path);
        if let Some(wrong) = what_is_wrong(inner) {
            return Err(refused(format!("the path {} in `files` {wrong}", shown(&path)))
                .with_hint("give paths below `/work`, as in `data/input.csv`"));
        }
        if !names.insert(inner.to_owned()) {
            return Err(refused(format!("the path {} is twice in `files`", shown(&path)))
                .with_hint("give every file a path of its own"));
        }
        total = total.saturating_add(content.len() as u64);
        checked.push(InputFile { path: inner.to_owned(), content });
    }
    for name in &names {
        let mut folders = name.match_indices('/').filter_map(|(end, _)| name.get(..end));
        if let Some(file) = folders.find(|folder| *folder == PROGRAM || names.contains(*folder)) {
            return Err(refused(format!("the path {} in `files` is in {}, which is a file", shown(name), shown(file)))
                .with_hint("a path is a file or a folder, not both"));
        }
    }
    let disk = limits.disk_limit.bytes();
    if total > disk.min(MAX_BYTES) {
        let bound = if disk < MAX_BYTES { format!("the `diskLimit` of {disk}") } else { MAX_BYTES.to_string() };
        return Err(refused(format!("the `files` have {total} bytes together, more than {bound}"))
            .with_hint("send less, or ask for a larger `diskLimit` where that is what is too small"));
    }
    Ok(checked)
}

/// What is wrong with a path that is relative to the folder.
fn what_is_wrong(path: &str) -> Option<String> {
    let names = || path.split('/');
    if path.is_empty() {
        Some("is empty".to_owned())
    } else if path.starts_with('/') {
        Some("is not below `/work`".to_owned())
    } else if path.contains('\0') {
        Some("contains a NUL character".to_owned())
    } else if names().any(str::is_empty) {
        Some("has an empty name between or after slashes".to_owned())
    } else if names().any(|name| matches!(name, "." | "..")) {
        Some("contains `.` or `..`".to_owned())
    } else if path == PROGRAM {
        Some("is that of the program itself".to_owned())
    } else if names().any(|name| name.len() > MAX_NAME) {
        Some(format!("has a name of more than {MAX_NAME} bytes"))
    } else if path.len() > MAX_PATH {
        Some(format!("has more than {MAX_PATH} bytes"))
    } else if names().count() > MAX_NAMES {
        Some(format!("has more than {MAX_NAMES} names"))
    } else {
        None
    }
}

/// A stranger's path for a message: without control characters, and not too long.
fn shown(path: &str) -> String {
    const SHOWN: usize = 80;
    let more = if path.chars().count() > SHOWN { "…" } else { "" };
    format!("`{}{more}`", path.chars().take(SHOWN).collect::<String>().escape_debug())
}

fn refused(message: String) -> SandboxError {
    SandboxError::new(ErrorCode::InvalidRequest, message)
}

/// The policy for reading the program: what it brings itself it may import. While it runs, that is seen by where a module
/// comes from.
pub(crate) fn with_own_modules(policy: Option<Arc<ImportPolicy>>, files: &[InputFile]) -> Option<Arc<ImportPolicy>> {
    let policy = policy?;
    let own: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.path.split('/').next())
        .map(|name| name.strip_suffix(".py").unwrap_or(name))
        .filter(|name| policy.decide(name, false) == ImportDecision::NotAllowed)
        .collect();
    if own.is_empty() {
        return Some(policy);
    }
    let mut extended = ImportPolicy::clone(&policy);
    extended.allowed.extend(own.into_iter().map(str::to_owned));
    Some(Arc::new(extended))
}

/// How much is taken of the files that a program leaves; nothing where they are not wanted.
pub(crate) fn limits_of(wanted: OutputFiles, limits: FileLimits) -> Option<FileLimits> {
    (wanted != OutputFiles::None).then_some(limits)
}

/// Puts the content of small files into the result, where that was asked for.
pub(crate) fn put_inline(
    result: &mut SandboxExecutionResult,
    files: &[CollectedFile],
    wanted: OutputFiles,
    limits: FileLimits,
) {
    if wanted != OutputFiles::Inline {
        return;
    }
    for (file, collected) in result.files.iter_mut().zip(files) {
        if file.size <= limits.max_inline_bytes {
            file.content = Some(collected.content.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use aevatar_sandbox_contract::{ByteQuantity, DEFAULT_LIMITS};
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, bytes: usize) -> InputFile {
        InputFile { path: path.to_owned(), content: vec![0; bytes] }
    }

    fn checked(paths: &[&str]) -> Result<Vec<String>, String> {
        let files = paths.iter().map(|path| file(path, 1)).collect();
        check(files, &DEFAULT_LIMITS)
            .map(|files| files.into_iter().map(|file| file.path).collect())
            .map_err(|error| error.message)
    }

    #[test]
    fn paths_come_out_relative() {
        assert_eq!(
            checked(&["a", "/work/b", "data/c.csv", "data/d/main.py", "work/e", "\u{e4} \n", "...", "a.b"]).unwrap(),
            ["a", "b", "data/c.csv", "data/d/main.py", "work/e", "\u{e4} \n", "...", "a.b"]
        );
        assert!(checked(&["n".repeat(255).as_str()]).is_ok());
        assert!(checked(&[["n"; 16].join("/").as_str()]).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long_name = "n".repeat(256);
        let long_path = [["n".repeat(200).as_str(); 5].join("/"), "n".repeat(20)].join("/");
        for (paths, part) in [
            (&[""][..], "`` in `files` is empty"),
            (&["/work/"], "`/work/` in `files` is empty"),
            (&["/etc/passwd"], "`/etc/passwd` in `files` is not below `/work`"),
            (&["/work//a"], "`/work//a` in `files` is not below `/work`"),
            (&["/work"], "is not below `/work`"),
            (&["a\0b"], "`a\\0b` in `files` contains a NUL"),
            (&["a//b"], "an empty name"),
            (&["a/"], "an empty name"),
            (&["../a"], "contains `.` or `..`"),
            (&["a/./b"], "contains `.` or `..`"),
            (&["a/.."], "contains `.` or `..`"),
            (&["main.py"], "is that of the program itself"),
            (&["/work/main.py"], "is that of the program itself"),
            (&[long_name.as_str()], "more than 255 bytes"),
            (&[long_path.as_str()], "more than 1024 bytes"),
            (&[["n"; 17].join("/").as_str()], "more than 16 names"),
            (&["a", "/work/a"], "`/work/a` is twice"),
            (&["a/b", "a"], "`a/b` in `files` is in `a`, which is a file"),
            (&["a", "a-b", "a/b/c"], "`a/b/c` in `files` is in `a`"),
            (&["main.py/a"], "is in `main.py`, which is a file"),
        ] {
            let said = checked(paths).unwrap_err();
            assert!(said.contains(part), "{paths:?}: {said}");
        }
        let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(checked(&many[..100]).is_ok());
        assert!(checked(&many).unwrap_err().contains("101 `files` are more than 100"));
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_made() {
        let limits = ResourceLimits { disk_limit: ByteQuantity::from_mebibytes(1), ..DEFAULT_LIMITS };
        assert!(check(vec![file("a", 1 << 19), file("b", 1 << 19)], &limits).is_ok());
        let error = check(vec![file("a", 1 << 19), file("b", (1 << 19) + 1)], &limits).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        assert!(error.message.contains("1048577 bytes together, more than the `diskLimit` of 1048576"), "{error}");
        let error = check(vec![file("a", (64 << 20) + 1)], &DEFAULT_LIMITS).unwrap_err();
        assert!(error.message.contains("more than 67108864"), "{error}");
    }

    #[test]
    fn a_program_may_import_what_it_brings() {
        let policy = Arc::new(ImportPolicy { allowed: vec!["numpy".to_owned()], blocked: vec!["ctypes".to_owned()] });
        let decide = |files: &[InputFile], module: &str| {
            with_own_modules(Some(Arc::clone(&policy)), files).unwrap().decide(module, false)
        };
        let files = [file("helper.py", 0), file("pkg/inner/x.py", 0), file("ctypes.py", 0), file("data.csv", 0)];
        for (module, decision) in [
            ("helper", ImportDecision::Allowed),
            ("pkg.inner.x", ImportDecision::Allowed),
            ("inner", ImportDecision::NotAllowed),
            ("data", ImportDecision::NotAllowed),
            ("ctypes", ImportDecision::Blocked),
        ] {
            assert_eq!(decide(&files, module), decision, "{module}");
        }
        assert_eq!(decide(&[], "helper"), ImportDecision::NotAllowed);
        assert_eq!(with_own_modules(None, &files), None);
    }

    proptest! {
        #[test]
        fn no_path_leads_out(path in r"(/work/)?([a./\x00\n\u{e4}]|\.\.|main\.py){0,12}") {
            let Ok(files) = check(vec![file(&path, 0)], &DEFAULT_LIMITS) else { return Ok(()) };
            let inner = std::path::Path::new(&files[0].path);
            prop_assert!(inner.is_relative());
            prop_assert!(inner.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            // Nothing is left for a normalisation to do.
            let rebuilt: std::path::PathBuf = inner.components().collect();
            prop_assert_eq!(rebuilt.as_os_str(), inner.as_os_str());
            prop_assert!(inner != std::path::Path::new(PROGRAM));
        }

        #[test]
        fn no_two_paths_collide(paths in proptest::collection::vec("[ab](/[ab]){0,3}", 1..6)) {
            let Ok(files) = check(paths.iter().map(|path| file(path, 0)).collect(), &DEFAULT_LIMITS) else {
                return Ok(());
            };
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                let path = folder.path().join(file.path);
                fs_err::create_dir_all(path.parent().unwrap()).unwrap();
                fs_err::OpenOptions::new().write(true).create_new(true).open(path).unwrap();
            }
        }
    }
}
