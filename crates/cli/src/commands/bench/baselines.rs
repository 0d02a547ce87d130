//! What the sandbox is compared with: plain Python, bubblewrap with Python, an interpreter that is warm already.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use aevatar_sandbox::PythonEnvironment;
use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::programs::Program;

const WARM_INTERPRETER: &str = include_str!("warm_interpreter.py");
/// Characters of a failed command's stderr that are told.
const STDERR_TOLD: u64 = 2000;

/// The interpreter of the sandbox's own environment, with its packages, but outside of any sandbox.
#[derive(Debug)]
pub(super) struct HostPython {
    interpreter: PathBuf,
    packages: PathBuf,
    /// matplotlib's list of the host's fonts, so that neither it is made anew nor the user's own is touched.
    matplotlib: TempDir,
}

impl HostPython {
    pub(super) fn new(environment: &PythonEnvironment) -> anyhow::Result<Self> {
        let matplotlib = tempfile::Builder::new()
            .prefix("aevatar-sandbox-bench-")
            .tempdir()
            .context("could not make a temporary folder")?;
        if let Some((name, list)) = &environment.font_list {
            fs_err::copy(list, matplotlib.path().join(name))?;
        }
        Ok(Self { interpreter: environment.interpreter.clone(), packages: environment.packages.clone(), matplotlib })
    }

    /// `python` in front of its arguments, with `PYTHONPATH` for the packages where they are needed: `-I` ignores it.
    fn interpreter(&self, program: &Path, with_packages: bool) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PYTHON") {
                command.env_remove(name);
            }
        }
        if with_packages {
            command.env("PYTHONPATH", &self.packages).env("PYTHONDONTWRITEBYTECODE", "1");
            command.env("MPLCONFIGDIR", self.matplotlib.path());
        }
        command.current_dir("/");
        command
    }

    const fn flags(with_packages: bool) -> &'static [&'static str] {
        if with_packages { &["-s", "-P"] } else { &["-I"] }
    }

    /// `python -I -c CODE`.
    pub(super) fn plain(&self, program: Program) -> Command {
        let mut command = self.interpreter(&self.interpreter, program.needs_packages());
        command.args(Self::flags(program.needs_packages())).args(["-c", program.code()]);
        command
    }

    /// The same in bubblewrap: all namespaces and the host's files, read-only. No limit of memory, CPU, processes or
    /// disk, and no filter of system calls.
    pub(super) fn bubblewrap(&self, program: Program) -> Command {
        let mut command = self.interpreter(Path::new("bwrap"), program.needs_packages());
        command.args(["--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/", "/"]);
        command.args(["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]);
        if program.needs_packages() {
            command.arg("--bind").arg(self.matplotlib.path()).arg(self.matplotlib.path());
        }
        // They may be below /tmp.
        for path in [&self.packages, &self.interpreter] {
            if path.starts_with("/tmp") {
                command.arg("--ro-bind").arg(path).arg(path);
            }
        }
        command.arg(&self.interpreter).args(Self::flags(program.needs_packages())).args(["-c", program.code()]);
        command
    }

    /// An interpreter that answers lines on its stdin; `arguments` are for the script.
    pub(super) fn conversation(&self, script: &str, arguments: &[&str]) -> anyhow::Result<Conversation> {
        let mut command = self.interpreter(&self.interpreter, true);
        command.args(Self::flags(true)).args(["-c", script]).args(arguments);
        Conversation::start(command)
    }

    /// An interpreter that runs one program many times.
    pub(super) fn warm(&self, program: Program) -> anyhow::Result<WarmInterpreter> {
        self.conversation(WARM_INTERPRETER, &[program.code()]).map(WarmInterpreter)
    }
}

/// How long a command takes from its start to its end.
///
/// # Errors
/// It could not be started or failed, with the beginning of its stderr.
pub(super) fn time(command: &mut Command) -> anyhow::Result<Duration> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begin = Instant::now();
    let mut child = command.spawn().with_context(|| format!("could not start `{name}`"))?;
    let mut told = String::new();
    if let Some(stderr) = child.stderr.take() {
        // Its end is the command's: one that writes more than this is stopped by it, and fails.
        let _unreadable = stderr.take(STDERR_TOLD).read_to_string(&mut told);
    }
    let status = child.wait().with_context(|| format!("could not wait for `{name}`"))?;
    let took = begin.elapsed();
    ensure!(status.success(), "`{name}` failed ({status}): {}", told.trim());
    Ok(took)
}

/// A child that answers one line with one line. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Conversation {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Conversation {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start `{}`", command.get_program().display()))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).context("a child without pipes")?;
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    pub(super) fn say(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.stdin, "{line}").context("a Python of the bench has ended; its stderr above says why")
    }

    pub(super) fn hear(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let length = self.stdout.read_line(&mut line).context("could not read from a Python of the bench")?;
        ensure!(length > 0, "a Python of the bench has ended; its stderr above says why");
        Ok(line)
    }

    pub(super) fn hear_json<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = self.hear()?;
        serde_json::from_str(&line).with_context(|| format!("a Python of the bench answered {line:?}"))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // Nothing can be done about a child that cannot be ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An interpreter outside of any sandbox that runs the same program again and again.
#[derive(Debug)]
pub(super) struct WarmInterpreter(Conversation);

impl WarmInterpreter {
    pub(super) fn time(&mut self) -> anyhow::Result<Duration> {
        self.0.say("1")?;
        let times: Vec<f64> = self.0.hear_json()?;
        let time = times.first().and_then(|seconds| Duration::try_from_secs_f64(*seconds).ok());
        time.context("a warm interpreter answered with no time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_told_with_its_stderr() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo because >&2; exit 3"]);
        let error = time(&mut command).unwrap_err().to_string();
        assert!(error.contains("because") && error.contains('3'), "{error}");
        let error = time(&mut Command::new("/no/such/command")).unwrap_err();
        assert!(error.to_string().contains("/no/such/command"), "{error}");
        assert!(time(&mut Command::new("true")).is_ok());
    }

    #[test]
    fn a_conversation_is_a_line_for_a_line() {
        let mut cat = Conversation::start(Command::new("cat")).unwrap();
        for line in ["[1.5]", "[2.5]"] {
            cat.say(line).unwrap();
            assert_eq!(cat.hear_json::<Vec<f64>>().unwrap().len(), 1);
        }
        cat.say("nonsense").unwrap();
        assert!(cat.hear_json::<Vec<f64>>().unwrap_err().to_string().contains("nonsense"));
        let mut ended = Conversation::start(Command::new("true")).unwrap();
        assert!(ended.hear().unwrap_err().to_string().contains("ended"));
    }
}
