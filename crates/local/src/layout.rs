//! What a sandbox looks like from inside: the read-only root for one Python environment.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use aevatar_sandbox_contract::{ErrorCode, ImportPolicy, InputFile, PythonEnvironment, SandboxError};
use aevatar_sandbox_jail::{
    layers::{self, Layer},
    spec::{MemoryDevice, RootEntry},
    zygote::NATIVE_MODULE,
};

use crate::bytecode::GuestFile;

/// Where the program's source is, and what `__file__` says.
pub(crate) const PROGRAM: &str = "/work/main.py";
/// The interpreter as a program sees it: `sys.executable`.
pub(crate) const PYTHON: &str = "/opt/python/bin/python";
/// Where matplotlib keeps its cache: writable, and empty but for the font list.
pub(crate) const MATPLOTLIB_CACHE: &str = "/tmp/.matplotlib";
pub(crate) const MATPLOTLIB_CONFIGURATION: &str = "/opt/python/share/matplotlibrc";

/// The variable that tells a fresh interpreter to save the figures that are open at the end of its program.
pub(crate) const FIGURES: &str = "SANDBOX_FIGURES";

const PREFIX: &str = "/opt/python";
const POLICY: &str = include_str!("../guest/_sandbox_policy.py");

/// The guest's files, in the folder that [`site_packages`] names.
pub(crate) const GUEST: [GuestFile; 7] = [
    ("_sandbox_runtime.py", include_str!("../guest/_sandbox_runtime.py")),
    ("_sandbox_report.py", include_str!("../guest/_sandbox_report.py")),
    ("_sandbox_figures.py", include_str!("../guest/_sandbox_figures.py")),
    ("_sandbox_zygote.py", include_str!("../guest/_sandbox_zygote.py")),
    ("sandbox.py", include_str!("../guest/sandbox.py")),
    ("_sandbox_imports.py", include_str!("../guest/_sandbox_imports.py")),
    ("_sandbox_policy.py", POLICY),
];
/// How many of them every sandbox has; the others come with an import policy.
const WITHOUT_POLICY: usize = 5;

const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\nsandbox:x:1000:1000:sandbox:/tmp:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nsandbox:x:1000:\n";
const HOSTS: &str = "127.0.0.1\tlocalhost sandbox\n::1\tlocalhost\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files\n";

/// Folders of a host that a root of a sandbox's own does not show, for a trial without one.
const OF_THE_HOST: [&str; 5] = ["/boot", "/home", "/srv", "/sys", "/var"];

/// The root, parents before children.
///
/// The interpreter keeps its path on the host, because some builds carry it in their binaries. Around it stands a
/// virtual environment at `/opt/python`, which is what `sys.prefix` and `sys.executable` name.
///
/// `bytecode` is that of [`GUEST`], in its order, where there is some.
///
/// # Errors
/// The import policy has an entry that is no name of a module.
pub(crate) fn root(
    environment: &PythonEnvironment,
    import_policy: Option<&ImportPolicy>,
    bytecode: Option<Vec<Vec<u8>>>,
) -> Result<Vec<RootEntry>, SandboxError> {
    let mut entries = vec![
        file("/etc/passwd", PASSWD),
        file("/etc/group", GROUP),
        file("/etc/hosts", HOSTS),
        file("/etc/nsswitch.conf", NSSWITCH),
    ];
    if layers::is_on(Layer::OwnDevices) {
        entries.extend([
            symlink("/dev/fd", "/proc/self/fd"),
            symlink("/dev/stdin", "/proc/self/fd/0"),
            symlink("/dev/stdout", "/proc/self/fd/1"),
            symlink("/dev/stderr", "/proc/self/fd/2"),
        ]);
        entries.extend(MemoryDevice::ALL.map(RootEntry::Device));
    } else {
        entries.push(bind("/dev", "/dev"));
    }
    if layers::is_on(Layer::OwnRoot) {
        entries.push(symlink("/var/tmp", "/tmp"));
    } else {
        entries.extend(OF_THE_HOST.map(|folder| bind(folder, folder)));
    }
    entries.push(bind(&environment.interpreter, &environment.interpreter));
    entries.extend(environment.standard_library.iter().map(|path| bind(path, path)));
    entries.extend(environment.hidden.iter().cloned().map(RootEntry::Cover));
    entries.extend(environment.libraries.iter().map(|(name, source)| bind(source, name)));
    if environment.needs_loader_cache {
        entries.push(bind("/etc/ld.so.cache", "/etc/ld.so.cache"));
    }
    entries.extend(environment.data.iter().chain(&environment.fonts).map(|path| bind(path, path)));
    entries.extend(python(environment, import_policy)?);
    let guest = if import_policy.is_some() { GUEST.len() } else { WITHOUT_POLICY };
    let site = site_packages(environment);
    entries.extend(GUEST.iter().take(guest).map(|(name, text)| file(site.join(name), *text)));
    entries.push(file(site.join("_sandbox_native.so"), NATIVE_MODULE));
    let tag = format!("cpython-{}{}", environment.python.major, environment.python.minor);
    entries.extend(GUEST.iter().take(guest).zip(bytecode.into_iter().flatten()).map(|((name, _), bytecode)| {
        let module = name.trim_end_matches(".py");
        file(site.join("__pycache__").join(format!("{module}.{tag}.pyc")), bytecode)
    }));
    Ok(entries)
}

/// Where a sandbox has the guest's files.
pub(crate) fn site_packages(environment: &PythonEnvironment) -> PathBuf {
    let minor = format!("python{}.{}", environment.python.major, environment.python.minor);
    Path::new(PREFIX).join("lib").join(minor).join("site-packages")
}

/// The virtual environment.
fn python(
    environment: &PythonEnvironment,
    import_policy: Option<&ImportPolicy>,
) -> Result<Vec<RootEntry>, SandboxError> {
    let version = environment.python;
    let minor = format!("python{}.{}", version.major, version.minor);
    let home = environment.interpreter.parent().unwrap_or(Path::new("/")).display();
    let site = site_packages(environment);
    let bin = Path::new(PREFIX).join("bin");
    let mut entries = vec![
        file(
            Path::new(PREFIX).join("pyvenv.cfg"),
            format!("home = {home}\ninclude-system-site-packages = false\nversion = {version}\n"),
        ),
        file(
            site.join("sandbox.pth"),
            format!("import _sandbox_runtime\n{}", import_policy.map_or("", |_| "import _sandbox_imports\n")),
        ),
        bind(&environment.packages, Path::new(PREFIX).join("packages")),
        file(MATPLOTLIB_CONFIGURATION, matplotlib_configuration(&environment.font_fallbacks)),
    ];
    if let Some(policy) = import_policy {
        entries.push(file(site.join("_sandbox_imports.txt"), policy_file(policy)?));
    }
    entries.extend(["python", "python3", minor.as_str()].map(|name| symlink(bin.join(name), &environment.interpreter)));
    entries.extend(environment.font_list.iter().map(|(name, source)| bind(source, font_list(name))));
    Ok(entries)
}

/// The policy, one entry a line.
fn policy_file(policy: &ImportPolicy) -> Result<String, SandboxError> {
    let mut lines = String::new();
    for (kind, entries) in [("allow", &policy.allowed), ("block", &policy.blocked)] {
        for entry in entries {
            // White space would make another entry of it, or none, and the policy another one.
            if entry.is_empty() || entry.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
                return Err(SandboxError::new(
                    ErrorCode::InvalidRequest,
                    format!("the import policy has the entry {entry:?}, which is no name of a module"),
                )
                .with_hint("name modules as an import statement does: `numpy`, `os.path`"));
            }
            lines.extend([kind, " ", entry, "\n"]);
        }
    }
    Ok(lines)
}

/// Where matplotlib's font list is in the root.
fn font_list(name: &str) -> PathBuf {
    Path::new(PREFIX).join("share").join(name)
}

/// Links in the writable folders: where, and to what.
pub(crate) fn scratch_links(environment: &PythonEnvironment) -> Vec<(PathBuf, PathBuf)> {
    environment.font_list.iter().map(|(name, _)| (Path::new(MATPLOTLIB_CACHE).join(name), font_list(name))).collect()
}

/// What the engine puts into the writable folders, relative to the root of their filesystem: files before their folders.
pub(crate) fn scratch_files(environment: &PythonEnvironment) -> Vec<PathBuf> {
    let links = scratch_links(environment).into_iter().map(|(link, _)| link);
    // As it is, with what is above it up to the writable folder, which is /tmp here.
    let mut files = vec![PathBuf::from(PROGRAM)];
    for link in links {
        let folders = link.ancestors().skip(1).take_while(|folder| folder.components().count() > 2).map(Path::to_owned);
        files.extend(std::iter::once(link.clone()).chain(folders));
    }
    let relative = |path: PathBuf| path.strip_prefix("/").map(Path::to_owned).unwrap_or(path);
    files.into_iter().map(relative).collect()
}

/// The same of a program's input files.
pub(crate) fn input_files(inputs: &[InputFile]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = BTreeSet::new();
    for input in inputs {
        let path = Path::new("work").join(&input.path);
        folders.extend(path.ancestors().skip(1).take_while(|folder| *folder != Path::new("work")).map(Path::to_owned));
        files.push(path);
    }
    // A folder's name comes before those of what is in it.
    files.extend(folders.into_iter().rev());
    files
}

/// matplotlib falls back glyph by glyph over the families listed here; `sans-serif` keeps meaning what the program
/// says it means.
fn matplotlib_configuration(fallbacks: &[String]) -> String {
    let families: Vec<&str> = ["sans-serif"].into_iter().chain(fallbacks.iter().map(String::as_str)).collect();
    format!("backend: Agg\nfont.family: {}\n", families.join(", "))
}

fn file(path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> RootEntry {
    RootEntry::File(path.into(), content.into())
}

fn symlink(path: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> RootEntry {
    RootEntry::Symlink(path.into(), destination.into())
}

fn bind(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> RootEntry {
    RootEntry::Bind { source: source.into(), target: target.into() }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    use aevatar_sandbox_contract::ImportDecision;
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    /// Decides on all cases of stdin as the sandbox does.
    const GUEST: &str = r#"
import json, sys
names = {}
exec(compile(sys.argv[1], "_sandbox_policy.py", "exec"), names)
words = {names["ALLOWED"]: "Allowed", names["BLOCKED"]: "Blocked", names["NOT_ALLOWED"]: "NotAllowed"}
cases = json.load(sys.stdin)
json.dump([words[names["decide"](set(allowed), set(blocked), *rest)] for allowed, blocked, *rest in cases], sys.stdout)
"#;

    #[test]
    fn files_come_before_their_folders() {
        let inputs = ["a/b/c", "a/d", "e"].map(|path| InputFile { path: path.to_owned(), content: Vec::new() });
        let shown: Vec<_> = input_files(&inputs).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(shown, ["work/a/b/c", "work/a/d", "work/e", "work/a/b", "work/a"]);
    }

    fn decided_by_the_guest(cases: &serde_json::Value) -> Vec<String> {
        let mut python = Command::new("python3")
            .args(["-I", "-c", GUEST, POLICY])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        python.stdin.take().unwrap().write_all(cases.to_string().as_bytes()).unwrap();
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[test]
    fn a_policy_that_cannot_be_read_ends_the_program() {
        const INSTALL: &str = "import sys; names = {}; exec(sys.argv[1], names)\n\
            try: names['install'](__import__, set(), (), sys.argv[2])\n\
            except BaseException: pass\n\
            print('went on')";
        for file in ["/nonexistent/_sandbox_imports.py", "/etc/passwd"] {
            let output = Command::new("python3").args(["-I", "-c", INSTALL, POLICY, file]).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(125), b"".as_slice()), "{stderr}");
            assert!(stderr.starts_with("the sandbox's import policy in /"), "{stderr}");
        }
    }

    /// Few parts, so that entries and modules meet; some that only look alike, and some that are none.
    fn module() -> impl Strategy<Value = String> {
        vec(select(vec!["a", "b", "ab", "os", "*", "é", ""]), 1..4).prop_map(|parts| parts.join("."))
    }

    proptest! {
        // One process of Python each.
        #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 50, ..ProptestConfig::default() })]

        #[test]
        fn the_guest_decides_as_the_contract(
            cases in vec((vec(module(), 0..4), vec(module(), 0..4), module(), any::<bool>()), 3000)
        ) {
            let decided = decided_by_the_guest(&serde_json::json!(cases));
            prop_assert_eq!(decided.len(), cases.len());
            for ((allowed, blocked, module, in_standard_library), decided) in cases.into_iter().zip(decided) {
                let policy = ImportPolicy { allowed, blocked };
                let expected: ImportDecision = policy.decide(&module, in_standard_library);
                prop_assert_eq!(format!("{expected:?}"), decided, "{:?} {} {}", policy, module, in_standard_library);
            }
        }
    }
}
