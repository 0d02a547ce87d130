//! A folder of a test's own, in which the binary runs so that everything it leaves on the host can be told from what
//! others leave: a link to the binary under a name that no other test uses, and a cache with its own folder for disk
//! images and the user's prepared environments.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    host::{self, Process},
    process,
    running::Running,
    site,
};

/// Time for one command, whatever its own limits are.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Place {
    folder: TempDir,
    mounts: BTreeSet<String>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code; 128 + n after signal n.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stdout_bytes: u64,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn new(status: ExitStatus, stdout: &[u8], stdout_bytes: u64, stderr: &[u8]) -> Self {
        Self {
            code: status.code().or(status.signal().map(|signal| 128 + signal)).expect("it has ended"),
            stdout: String::from_utf8_lossy(stdout).into_owned(),
            stdout_bytes,
            stderr: String::from_utf8_lossy(stderr).into_owned(),
        }
    }

    /// The result that `--json` prints.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stderr, "", "--json prints nothing on stderr");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON object ({error}): {self:?}"))
    }

    /// The verdict line, which must be all of stderr's last line but for hints.
    pub(crate) fn verdict(&self) -> &str {
        let line = self.stderr.lines().rfind(|line| !line.starts_with("hint: ")).unwrap_or_default();
        line.strip_prefix("aevatar-sandbox: ").unwrap_or_else(|| panic!("no verdict line: {self:?}"))
    }
}

/// Runs `command` to its end, with a hard time limit.
pub(crate) fn finish(command: Command, stdin: &[u8]) -> Outcome {
    let shown = format!("{command:?}");
    let done = process::run(command, stdin, site::patience(LIMIT)).unwrap_or_else(|error| panic!("{shown}: {error}"));
    Outcome::new(done.status, &done.stdout, done.stdout_bytes, &done.stderr)
}

impl Place {
    pub(crate) fn new() -> Self {
        // In the target folder: a disk, and the file system of the binary.
        let folder = tempfile::Builder::new().prefix("it-").tempdir_in(site::scratch()).unwrap();
        let place = Self { folder, mounts: host::mounts() };
        for name in ["cache", "tmp", "work"] {
            std::fs::create_dir(place.path().join(name)).unwrap();
        }
        if let Ok(prepared) = aevatar_sandbox::cache_folder() {
            for name in ["environments", "locks", "interpreters.json"] {
                symlink(prepared.join(name), place.cache().join(name)).unwrap();
            }
        }
        std::fs::hard_link(site::binary(), place.binary()).expect("the target folder is on one file system");
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path().join("cache")
    }

    /// The link's name is the test folder's, so unique among processes' executables.
    pub(crate) fn binary(&self) -> PathBuf {
        self.path().join(self.path().file_name().unwrap())
    }

    /// Writes a program, and returns its path.
    pub(crate) fn program(&self, code: impl AsRef<[u8]>) -> String {
        let file = self.path().join("work/program.py");
        std::fs::write(&file, code).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// The binary with these arguments.
    pub(crate) fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        self.command_as(Command::new(self.binary()), arguments)
    }

    /// The same behind another program that executes it: `unshare`.
    pub(crate) fn command_as(&self, mut command: Command, arguments: &[impl AsRef<OsStr>]) -> Command {
        command.args(arguments).current_dir(self.path().join("work")).env_remove("AEVATAR_SANDBOX_ISOLATION");
        if arguments.first().is_some_and(|verb| verb.as_ref() == "run") {
            command.envs(site::settings());
        }
        command.env("AEVATAR_SANDBOX_CACHE", self.cache()).env("TMPDIR", self.path().join("tmp"));
        command
    }

    /// `aevatar-sandbox run` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, b"")
    }

    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Outcome {
        finish(self.command(&[&["run"], arguments].concat()), stdin)
    }

    /// `aevatar-sandbox run --json` to its end.
    pub(crate) fn run_json(&self, arguments: &[&str]) -> Value {
        self.run(&[&["--json"], arguments].concat()).json()
    }

    /// `aevatar-sandbox run` in the background.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(&[&["run"], arguments].concat()))
    }

    /// Fails unless everything is gone that the servers `pids` and those of this place made; `recorded` are processes
    /// that were seen.
    pub(crate) fn assert_nothing_left(&self, pids: &[u32], recorded: &[Process]) {
        host::eventually_nothing("left on the host", || self.leftovers(pids, recorded));
    }

    /// The next execution works.
    pub(crate) fn assert_next_works(&self) {
        let next = self.run(&["-c", "print('next')"]);
        assert_eq!((next.code, next.stdout.as_str(), next.stderr.as_str()), (0, "next\n", ""), "the next execution");
    }

    /// What [`Self::assert_nothing_left`] complains about.
    pub(crate) fn leftovers(&self, pids: &[u32], recorded: &[Process]) -> Vec<String> {
        let mut left = Vec::new();
        for process in host::all_processes() {
            if recorded.contains(&process) || self.is_ours(process, pids) {
                left.push(format!("process {} {}", process.pid, process.name()));
            }
        }
        left.extend(pids.iter().flat_map(|pid| host::cgroups_of(*pid)).map(|path| path.display().to_string()));
        left.extend(host::loop_devices(&self.cache()).into_iter().map(|file| format!("loop device of {file}")));
        left.extend(host::mounts().difference(&self.mounts).map(|mount| format!("mount {mount}")));
        left.extend(self.mounts.difference(&host::mounts()).map(|mount| format!("no longer mounted: {mount}")));
        for folder in ["tmp", "work", "cache/disks"] {
            let entries = std::fs::read_dir(self.path().join(folder)).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            // Programs of the test, and formatted images, which are meant to stay.
            let unknown = names.filter(|name| {
                name != "program.py" && Path::new(name).extension().is_none_or(|extension| extension != "image")
            });
            left.extend(unknown.map(|name| format!("file {folder}/{name}")));
        }
        left
    }

    /// By the executable's name, where the user may see it; by the host uid, in the range that root's server takes for
    /// its engine; or by the cgroup.
    fn is_ours(&self, process: Process, pids: &[u32]) -> bool {
        let name = self.path().file_name();
        let by_name = process.executable().is_some_and(|path| path.file_name() == name);
        let by_cgroup = || pids.iter().any(|pid| process.cgroups().contains(&format!("/aevatar-sandbox-{pid}-")));
        by_name || by_cgroup() || process.uid().is_some_and(|uid| pids.iter().any(|pid| uid_range(*pid).contains(&uid)))
    }
}

/// The host uids of a server's engine and sandboxes, when root started it.
fn uid_range(server: u32) -> std::ops::Range<u32> {
    let base = 0x7000_0000 + (server & 0x7FF) * 0x1_0000;
    base..base + 0x1_0000
}
