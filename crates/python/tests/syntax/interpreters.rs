//! The interpreters of this host, and what they say of programs.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use aevatar_sandbox_contract::PythonVersion;
use serde::Deserialize;

/// The minor versions that a validator knows.
pub(crate) const MINORS: [u8; 3] = [11, 12, 13];

/// One CPython.
#[derive(Clone, Debug)]
pub(crate) struct Interpreter {
    pub(crate) path: PathBuf,
    pub(crate) version: PythonVersion,
}

/// What CPython says of one program: why it refuses it, if it does.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) line: Option<u32>,
}

/// Compiles every program of a JSON list, each a text or `{"file": path}`.
const COMPILE: &str = r"
import json, sys, warnings
warnings.simplefilter('ignore')
answers = []
for program in json.load(sys.stdin):
    try:
        if isinstance(program, dict):
            with open(program['file'], 'rb') as file:
                program = file.read()
        compile(program, 'main.py', 'exec', dont_inherit=True)
        answers.append(None)
    except SyntaxError as error:
        answers.append({'name': type(error).__name__, 'message': str(error.msg), 'line': error.lineno})
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        answers.append({'name': type(error).__name__, 'message': str(error), 'line': None})
json.dump(answers, sys.stdout)
";

impl Interpreter {
    /// Runs a program of ours with JSON as input, and returns what it printed.
    pub(crate) fn run(&self, program: &str, input: &serde_json::Value) -> String {
        let mut child = Command::new(&self.path)
            .args(["-I", "-c", program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let text = input.to_string();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output().unwrap();
        // A program that needs no input may have ended before it was written: its output tells.
        drop(writer.join().unwrap());
        assert!(output.status.success(), "{} failed", self.path.display());
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says of programs, each a text or `{"file": path}`.
    pub(crate) fn compile(&self, programs: &[serde_json::Value]) -> Vec<Option<Refusal>> {
        let answers: Vec<Option<Refusal>> = serde_json::from_str(&self.run(COMPILE, &programs.into())).unwrap();
        assert_eq!(answers.len(), programs.len());
        answers
    }
}

/// One interpreter of each minor version that there is.
pub(crate) fn interpreters() -> BTreeMap<u8, Interpreter> {
    let mut found = BTreeMap::new();
    for path in candidates() {
        if let Some(interpreter) = probe(&path) {
            found.entry(interpreter.version.minor).or_insert(interpreter);
        }
    }
    for minor in MINORS.iter().filter(|minor| !found.contains_key(minor)) {
        println!("skipped: no CPython 3.{minor} on this host");
    }
    found.retain(|minor, _| MINORS.contains(minor));
    assert!(!found.is_empty(), "no CPython 3.11, 3.12 or 3.13 on this host");
    found
}

fn candidates() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = MINORS.iter().map(|minor| PathBuf::from(format!("python3.{minor}"))).collect();
    let roots =
        [std::env::var_os("PYENV_ROOT").map(PathBuf::from), std::env::home_dir().map(|home| home.join(".pyenv"))];
    for root in roots.into_iter().flatten() {
        let versions = fs_err::read_dir(root.join("versions")).into_iter().flatten().filter_map(Result::ok);
        let mut versions: Vec<PathBuf> = versions.map(|version| version.path().join("bin/python3")).collect();
        versions.sort();
        paths.extend(versions);
    }
    paths.push(PathBuf::from("/usr/bin/python3"));
    paths
}

/// A shim that cannot start is no interpreter.
fn probe(path: &Path) -> Option<Interpreter> {
    let program = "import sys; print(*sys.version_info[:3], sys.executable, sep='\\n')";
    let output = Command::new(path).args(["-I", "-c", program]).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut lines = text.lines();
    let mut number = || lines.next()?.parse().ok();
    let version = PythonVersion { major: number()?, minor: number()?, micro: number()? };
    let path = PathBuf::from(lines.next()?);
    (output.status.success() && version.major == 3).then_some(Interpreter { path, version })
}
