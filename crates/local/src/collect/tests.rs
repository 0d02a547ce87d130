use std::{
    ffi::OsStr,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
};

use rustix::fs::{CWD, mkdirat, open, openat};

use super::*;

fn folder(path: &Path) -> OwnedFd {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn collected(path: &Path, limits: FileLimits, known: &[(&str, &[u8])]) -> CollectedFiles {
    let known = known.iter().map(|(path, content)| InputFile { path: (*path).to_owned(), content: content.to_vec() });
    collect(&folder(path), &Collection { limits, known: known.collect() })
}

fn paths(found: &CollectedFiles) -> Vec<&str> {
    found.files.iter().map(|file| file.file.path.as_str()).collect()
}

fn skipped(found: &CollectedFiles) -> Vec<(&str, SkipReason)> {
    found.skipped.iter().map(|skipped| (skipped.path.as_str(), skipped.reason)).collect()
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn new_and_changed_files_are_taken() {
    let work = tempfile::tempdir().unwrap();
    let at = |path: &str| work.path().join(path);
    std::fs::create_dir_all(at("data/inner/__pycache__")).unwrap();
    for (path, content) in [
        ("main.py", "print(1)"),
        ("data/same.csv", "a,b"),
        ("data/changed.csv", "a,c"),
        ("data/longer.csv", "a,b,c"),
        ("data/inner/new.json", "{}"),
        ("data/inner/__pycache__/x.pyc", "x"),
        ("empty", ""),
    ] {
        std::fs::write(at(path), content).unwrap();
    }
    let known: [(&str, &[u8]); 5] = [
        ("main.py", b"print(1)"),
        ("data/same.csv", b"a,b"),
        ("data/changed.csv", b"a,b"),
        ("data/longer.csv", b"a,b"),
        ("removed", b"x"),
    ];
    let found = collected(work.path(), FileLimits::default(), &known);
    assert_eq!(paths(&found), ["data/changed.csv", "data/inner/new.json", "data/longer.csv", "empty"]);
    assert!(found.skipped.is_empty());
    let json = &found.files[1];
    assert_eq!((json.file.size, json.file.mime_type.as_str()), (2, "application/json"));
    assert_eq!(json.file.sha256, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    assert_eq!((json.content.as_slice(), &json.file.content), (&b"{}"[..], &None));
}

#[test]
fn a_hostile_tree_is_survived() {
    use SkipReason::{NameNotUtf8, NotRegular, TooLarge, Unreadable};

    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "of the host").unwrap();
    let work = tempfile::tempdir().unwrap();
    let at = |path: &str| work.path().join(path);
    symlink("/etc/passwd", at("link")).unwrap();
    symlink(outside.path(), at("linked-folder")).unwrap();
    symlink("/proc/self/fd/0", at("magic")).unwrap();
    symlink("..", at("up")).unwrap();
    symlink("loop", at("loop")).unwrap();
    rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    std::fs::File::create(at("hole")).unwrap().set_len(1 << 40).unwrap();
    std::fs::write(at("new\nline"), "1").unwrap();
    std::fs::write(at("tab\t\u{202e}"), "2").unwrap();
    std::fs::write(work.path().join(OsStr::from_bytes(b"broken-\xff")), "3").unwrap();
    std::fs::create_dir(work.path().join(OsStr::from_bytes(b"folder-\xff"))).unwrap();
    std::fs::write(at("unreadable"), "4").unwrap();
    std::fs::set_permissions(at("unreadable"), std::fs::Permissions::from_mode(0o000)).unwrap();
    std::fs::write(at("one"), "hard").unwrap();
    std::fs::hard_link(at("one"), at("two")).unwrap();
    let before = open_descriptors();
    let found = collected(work.path(), FileLimits::default(), &[]);
    assert_eq!(open_descriptors(), before);
    let is_root = rustix::process::geteuid().is_root();
    let mut expected = vec!["new\nline", "one", "tab\t\u{202e}", "two"];
    expected.extend(is_root.then_some("unreadable"));
    assert_eq!(paths(&found), expected);
    let mut expected = vec![
        ("broken-\u{fffd}", NameNotUtf8),
        ("fifo", NotRegular),
        ("folder-\u{fffd}", NameNotUtf8),
        ("hole", TooLarge),
        ("link", NotRegular),
        ("linked-folder", NotRegular),
        ("loop", NotRegular),
        ("magic", NotRegular),
        ("socket", NotRegular),
    ];
    expected.extend((!is_root).then_some(("unreadable", Unreadable)));
    expected.push(("up", NotRegular));
    assert_eq!(skipped(&found), expected);
    // The positive control: what was not followed is there to be read.
    assert!(std::fs::read_to_string(at("linked-folder").join("secret")).unwrap().contains("of the host"));
    assert!(!found.files.iter().any(|file| file.content.windows(7).any(|part| part == b"of the ")));
}

#[test]
fn that_nothing_was_left_is_seen_at_once() {
    let untouched = |change: &dyn Fn(&Path), known: &[(&str, &[u8])]| {
        let work = tempfile::tempdir().unwrap();
        for (path, content) in known {
            std::fs::create_dir_all(work.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(work.path().join(path), content).unwrap();
        }
        change(work.path());
        let known: Vec<_> = known
            .iter()
            .map(|(path, content)| InputFile { path: (*path).to_owned(), content: content.to_vec() })
            .collect();
        let wanted = Collection { limits: FileLimits::default(), known };
        let found = is_untouched(&folder(work.path()), &wanted);
        // It never says so where a walk finds something.
        assert!(!found || collect(&folder(work.path()), &wanted) == CollectedFiles::default());
        found
    };
    let main: [(&str, &[u8]); 1] = [("main.py", b"print(1)")];
    assert!(untouched(&|_| {}, &main));
    assert!(untouched(&|work| std::fs::remove_file(work.join("main.py")).unwrap(), &main));
    assert!(!untouched(&|work| std::fs::write(work.join("main.py"), "print(2)").unwrap(), &main));
    assert!(!untouched(&|work| std::fs::write(work.join("main.py"), "").unwrap(), &main));
    assert!(!untouched(&|work| std::fs::write(work.join("new"), "").unwrap(), &main));
    assert!(!untouched(&|work| std::fs::create_dir(work.join("folder")).unwrap(), &main));
    let replaced = |work: &Path| {
        std::fs::remove_file(work.join("main.py")).unwrap();
        symlink("/etc/hostname", work.join("main.py")).unwrap();
    };
    assert!(!untouched(&replaced, &main));
    // What takes longer is not looked at here.
    assert!(!untouched(&|_| {}, &[("a/b", b"x")]));
    assert!(!untouched(&|_| {}, &[("big", vec![0; MAX_AT_ONCE + 1].as_slice())]));
}

#[test]
fn many_files_are_counted_and_not_kept() {
    let work = tempfile::tempdir().unwrap();
    let root = folder(work.path());
    for number in 0..20_000 {
        drop(
            openat(&root, format!("{number:05}"), OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o644)).unwrap(),
        );
    }
    let limits = FileLimits { max_files: 7, ..FileLimits::default() };
    let started = Instant::now();
    let found = collected(work.path(), limits, &[]);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!((found.files.len(), found.skipped.len()), (7, 7));
    assert!(found.skipped.contains(&SkippedFile { path: ".".to_owned(), reason: SkipReason::TooMany }));
}

#[test]
fn depth_is_bounded() {
    let work = tempfile::tempdir().unwrap();
    let mut current = folder(work.path());
    for _depth in 0..200 {
        mkdirat(&current, "d", Mode::from_raw_mode(0o755)).unwrap();
        drop(openat(&current, "file", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o644)).unwrap());
        current = openat(&current, "d", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
    let found = collected(work.path(), FileLimits::default(), &[]);
    assert_eq!(found.files.len(), 17, "the folder itself, and sixteen within it");
    assert_eq!(skipped(&found), [(["d"; 17].join("/").as_str(), SkipReason::TooDeep)]);
    // The longest names do not make a path that is too long for the kernel, at the default depth.
    let long = tempfile::tempdir().unwrap();
    let mut current = folder(long.path());
    for _depth in 0..16 {
        let name = "n".repeat(255);
        mkdirat(&current, &name, Mode::from_raw_mode(0o755)).unwrap();
        current = openat(&current, &name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
    drop(openat(&current, "file", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o644)).unwrap());
    assert_eq!(collected(long.path(), FileLimits::default(), &[]).files.len(), 1);
}

#[test]
fn sizes_are_bounded() {
    let work = tempfile::tempdir().unwrap();
    for (name, size) in [("a", 10), ("b", 11), ("c", 10), ("d", 5), ("e", 1)] {
        std::fs::File::create(work.path().join(name)).unwrap().set_len(size).unwrap();
    }
    let limits = FileLimits { max_file_bytes: 10, max_total_bytes: 25, ..FileLimits::default() };
    let found = collected(work.path(), limits, &[]);
    assert_eq!(paths(&found), ["a", "c", "d"]);
    assert_eq!(skipped(&found), [("b", SkipReason::TooLarge), ("e", SkipReason::TotalTooLarge)]);
    // What came with the request and is what it was is no output, however large.
    let known: [(&str, &[u8]); 1] = [("b", &[0; 11])];
    assert_eq!(skipped(&collected(work.path(), limits, &known)), [("e", SkipReason::TotalTooLarge)]);
    let known: [(&str, &[u8]); 1] = [("b", &[1; 11])];
    assert_eq!(skipped(&collected(work.path(), limits, &known))[0], ("b", SkipReason::TooLarge));
}

#[test]
fn time_is_bounded() {
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("a"), "1").unwrap();
    let found = collected(work.path(), FileLimits { max_time_ms: 0, ..FileLimits::default() }, &[]);
    assert!(found.files.is_empty());
    assert_eq!(skipped(&found), [(".", SkipReason::TimedOut)]);
}
