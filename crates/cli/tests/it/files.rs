//! Files that go into a sandbox and come out of it.

use std::{os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};

use crate::{place::Place, require, user::OrdinaryUser};

/// Leaves whatever hurts who looks at it without care, below the folder in `root`.
pub(crate) const HOSTILE: &str = r#"
import os, socket
os.chdir(root)
os.symlink("/etc/passwd", "link")
os.symlink("/", "root")
os.symlink("/proc/self/fd/0", "magic")
os.symlink("loop", "loop")
os.mkfifo("fifo")
listener = socket.socket(socket.AF_UNIX)
listener.bind("socket")
with open("hole", "wb") as file:
    os.truncate(file.fileno(), (16 << 20) + 1)
open("new\nline", "w").close()
open(b"broken-\xff", "w").close()
open("closed", "w").close()
os.chmod("closed", 0)
open("first", "w").write("hard")
os.link("first", "second")
os.mkdir("many")
for number in range(12000):
    os.close(os.open(f"many/{number}", os.O_CREAT | os.O_WRONLY))
path = "deep"
for _ in range(200):
    os.mkdir(path)
    os.chdir(path)
    path = "d"
"#;

/// What is said of what [`HOSTILE`] leaves.
pub(crate) fn assert_harmless(result: &Value) {
    let files = result["files"].as_array().unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    for path in ["first", "new\nline", "second"] {
        assert!(paths.contains(&path), "{path:?}: {result}");
    }
    let is_known = |path: &&str| ["closed", "first", "new\nline", "second"].contains(path) || path.starts_with("many/");
    assert!(paths.iter().all(is_known), "{result}");
    assert!(files.len() <= 100 && files.iter().all(|file| file["size"].as_u64() <= Some(4)), "{result}");
    let skipped = result["skippedFiles"].as_array().unwrap();
    assert!(skipped.len() <= 100, "{result}");
    for (path, reason) in [
        ("broken-\u{fffd}", "NameNotUtf8"),
        ("fifo", "NotRegular"),
        ("hole", "TooLarge"),
        ("link", "NotRegular"),
        ("loop", "NotRegular"),
        ("magic", "NotRegular"),
        ("root", "NotRegular"),
        ("socket", "NotRegular"),
    ] {
        assert!(skipped.contains(&json!({ "path": path, "reason": reason })), "{path}: {result}");
    }
}

fn hostile(root: &str) -> String {
    format!("root = {root:?}\n{HOSTILE}\nprint('done')")
}

#[test]
fn a_program_gets_its_files_and_leaves_others() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("in.csv"), "a,b\n1,2\n").unwrap();
    std::fs::write(at("helper.py"), "def double(x): return 2 * x").unwrap();
    let code = "import csv, helper, os\n\
                rows = list(csv.DictReader(open('/work/data/rows.csv')))\n\
                open('out.json', 'w').write(str(helper.double(len(rows))))\n\
                os.makedirs('a/b'); open('a/b/c.txt', 'w').write('deep')\n\
                open('in.csv', 'a').write('3,4\\n')\n\
                print(rows, sorted(os.listdir('/work')))";
    let (csv, helper, output) = (at("in.csv"), at("helper.py"), at("out"));
    let rows = format!("{csv}:data/rows.csv");
    let run = ["--input", &csv, "--input", &rows, "--input", &helper, "--output-dir", &output, "-c", code];
    for round in 0..2 {
        let outcome = place.run(&run);
        let listed =
            "[{'a': '1', 'b': '2'}] ['__pycache__', 'a', 'data', 'helper.py', 'in.csv', 'main.py', 'out.json']\n";
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, listed), "{outcome:?}");
        let saved = ["a/b/c.txt (4 bytes)", "in.csv (12 bytes)", "out.json (1 bytes)"];
        let told: Vec<String> = saved.iter().map(|line| format!("saved: {output}/{line}")).collect();
        assert_eq!(outcome.stderr.lines().collect::<Vec<_>>(), told, "round {round}");
    }
    assert_eq!(std::fs::read_to_string(at("out/a/b/c.txt")).unwrap(), "deep");
    assert_eq!(std::fs::read_to_string(at("out/in.csv")).unwrap(), "a,b\n1,2\n3,4\n");
    assert_eq!(std::fs::read_to_string(at("in.csv")).unwrap(), "a,b\n1,2\n", "what was given is as it was");
    let result = place.run_json(&["--input", &csv, "-c", "open('x.png', 'wb')"]);
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let expected = json!([{ "path": "x.png", "size": 0, "mimeType": "image/png", "sha256": empty }]);
    assert_eq!(result["files"], expected, "{result}");
    assert!(result.get("skippedFiles").is_none());
    // Without a folder and without JSON nothing is looked at.
    assert_eq!(place.run(&["-c", "open('x', 'w')"]).stderr, "");
    place.assert_nothing_left(&[], &[]);
}

#[test]
fn files_that_make_no_sense_are_refused_before_anything_runs() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file").to_str().unwrap().to_owned();
    std::fs::write(&file, vec![b'x'; 5 << 20]).unwrap();
    let refused = |arguments: &[&str]| {
        let outcome = place.run(&[arguments, &["-c", "print('ran')"]].concat());
        assert_eq!(outcome.stdout, "", "{outcome:?}");
        assert_ne!(outcome.code, 0, "{outcome:?}");
        outcome.stderr
    };
    for (path, part) in [("../x", "`..`"), ("/etc/x", "not below `/work`"), ("main.py", "the program itself")] {
        let said = refused(&["--input", &format!("{file}:{path}")]);
        assert!(said.contains(part), "{path}: {said}");
    }
    assert!(refused(&["--input", &file, "--disk", "1Mi"]).contains("more than the `diskLimit` of 1048576"));
    assert!(refused(&["--input", folder.path().to_str().unwrap()]).contains("directory"));
    // As large as the disk: then the program has no place.
    std::fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
    let said = refused(&["--input", &file, "--disk", "1Mi"]);
    assert!(said.contains("do not fit into what the disk limit allows"), "{said}");
    // The positive control.
    std::fs::write(&file, vec![b'x'; 1 << 19]).unwrap();
    let fits = place.run(&["--input", &file, "--disk", "1Mi", "-c", "import os; print(os.stat('file').st_size)"]);
    assert_eq!((fits.code, fits.stdout.as_str()), (0, "524288\n"), "{fits:?}");
}

#[test]
fn whatever_a_program_leaves_is_survived() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    // On a disk, and in memory.
    for limits in [&["--memory", "256Mi"][..], &["--memory", "256Mi", "--disk", "100Mi"], &["--disk", "7Mi"]] {
        let result = place.run_json(&[limits, &["-c", &hostile("/work")]].concat());
        assert_eq!(result["stdout"], "done\n", "{result}");
        assert_harmless(&result);
        place.assert_next_works();
    }
    // The folder itself made unreadable, and a program that is killed in the middle.
    let result = place.run_json(&["-c", "import os; open('x', 'w'); os.chmod('/work', 0); print('done')"]);
    assert_eq!(result["stdout"], "done\n", "{result}");
    let killed = place.run_json(&["--timeout", "0.5", "-c", "open('x', 'w').write('y')\nwhile True: pass"]);
    assert_eq!(killed["termination"]["reason"], "WallTimeLimit", "{killed}");
    assert_eq!(killed["files"][0]["path"], "x", "{killed}");
    place.assert_next_works();
    place.assert_nothing_left(&[], &[]);
}

#[test]
fn a_program_cannot_choose_where_its_files_are_saved() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let (output, outside) = (folder.path().join("out"), folder.path().join("outside"));
    std::fs::create_dir_all(&output).unwrap();
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, output.join("link")).unwrap();
    symlink(outside.join("file"), output.join("name")).unwrap();
    let code = "import os\nos.mkdir('link'); open('link/x', 'w'); open('name', 'w').write('1')";
    let outcome = place.run(&["--output-dir", output.to_str().unwrap(), "-c", code]);
    assert!(outcome.code != 0 && outcome.stderr.contains("could not save `link/x`"), "{outcome:?}");
    let outcome =
        place.run(&["--output-dir", output.to_str().unwrap(), "-c", "open('name\\x1b[2J\\n', 'w')\nopen('name', 'w')"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stderr.contains("name\\u{1b}[2J\\n (0 bytes)"), "{outcome:?}");
    assert!(output.join("name").is_file() && !output.join("name").is_symlink());
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn an_ordinary_user_has_files_too() {
    if !require::root() {
        return;
    }
    let user = OrdinaryUser::with_cgroups();
    let input = Path::new("/etc/passwd").to_str().unwrap();
    let code = "import os\nopen('copy', 'w').write(open('data/x').read()[:4])\n\
                print(os.stat('data/x').st_uid, oct(os.stat('data').st_mode), oct(os.stat('data/x').st_mode))";
    let result = user.run_json(&["--input", &format!("{input}:data/x"), "-c", code]);
    assert_eq!(result["stdout"], "1000 0o40755 0o100644\n", "{result}");
    assert_eq!(result["files"][0]["path"], "copy", "{result}");
    assert_eq!(result["files"].as_array().unwrap().len(), 1, "{result}");
    let result = user.run_json(&["-c", &hostile("/work")]);
    assert_eq!(result["stdout"], "done\n", "{result}");
    assert_harmless(&result);
    assert!(result["skippedFiles"].as_array().unwrap().contains(&json!({ "path": "closed", "reason": "Unreadable" })));
    let closed = user.run_json(&["-c", "import os; open('x', 'w'); os.chmod('/work', 0)"]);
    assert_eq!(closed["skippedFiles"], json!([{ "path": ".", "reason": "Unreadable" }]), "{closed}");
    let output = user.run(&["--output-dir", "out", "-c", "open('x', 'w').write('1')"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, "saved: out/x (1 bytes)\n"), "{output:?}");
    assert_eq!(user.run(&["-c", "import os; print(os.listdir('/work'))"]).stdout, "['main.py']\n");
}
