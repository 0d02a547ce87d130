//! The server that is measured: a child of the bench, with a log of its own.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use aevatar_sandbox::IsolationTier;
use anyhow::{Context, bail, ensure};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::{Pid, Signal, kill_process},
};
use tokio::time::sleep;

use super::client::{Connection, Request};

/// What the log says in front of the address.
const LISTENING: &str = "listening on http://";
/// How long a server may take to listen and to be ready.
const START: Duration = Duration::from_mins(1);
/// How long it may take to end, which includes [`GRACE`].
const END: Duration = Duration::from_secs(20);
/// Seconds that programs may go on running after SIGTERM.
const GRACE: &str = "1";
/// Places for programs: more than the bench ever fills, so that none is refused.
const PLACES: &str = "1024";
/// Lines of the log in an error.
const LINES_TOLD: usize = 12;

/// How a server is started; the same for all of one bench.
#[derive(Clone, Debug)]
pub(super) struct ServerOptions {
    /// Where environments and disk images are.
    pub(super) data_folder: PathBuf,
    /// The interpreter, where one was chosen.
    pub(super) python: Option<PathBuf>,
    /// How much isolation to insist on.
    pub(super) isolation: IsolationTier,
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// Its stderr: in memory, so that nobody has to read along while it is measured.
    log: File,
    pub(super) address: SocketAddr,
}

impl ServerOptions {
    /// A command with the arguments that `serve` and `run` share.
    pub(super) fn command(&self, verb: &str) -> Command {
        // The running executable, also after its file was replaced.
        let mut command = Command::new("/proc/self/exe");
        command.arg(verb).arg("--isolation").arg(match self.isolation {
            IsolationTier::Default => "default",
            IsolationTier::Reduced => "reduced",
        });
        command.env("PythonSandbox__DataDir", &self.data_folder);
        if let Some(python) = &self.python {
            command.arg("--python").arg(python);
        }
        // Away from an `appsettings.json`: what is measured must not depend on where the bench was started.
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// It did not start, with the end of its log.
    pub(super) async fn start(&self) -> anyhow::Result<Server> {
        let log = memfd_create("aevatar-sandbox-bench-log", MemfdFlags::CLOEXEC)
            .map(File::from)
            .context("could not make a place for the server's log")?;
        let mut command = self.command("serve");
        command.args(["--host", "127.0.0.1", "--port", "0", "--end-with-parent"]);
        // The bench has no key. All other settings of the environment hold: they are what an operator measures.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().to_ascii_lowercase().starts_with("pythonsandbox__apikeys") {
                command.env_remove(name);
            }
        }
        command.env("PythonSandbox__MaxConcurrentExecutions", PLACES).env("PythonSandbox__ShutdownGrace", GRACE);
        command.stdout(Stdio::null()).stderr(log.try_clone().context("could not share the server's log")?);
        let child = command.spawn().context("could not start a server")?;
        let mut server = Server { child, log, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        server.wait_until_ready().await?;
        Ok(server)
    }
}

impl Server {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        let mut listening = false;
        loop {
            if let Some(status) = self.child.try_wait().context("could not look at the server")? {
                bail!("the server ended ({status}): {}", self.end_of_log());
            }
            if listening {
                let mut connection = Connection::open(self.address).await?;
                let (status, _) = connection.ask(&Request::get(self.address, "/readyz")).await?;
                if status == 200 {
                    return Ok(());
                }
            } else if let Some(address) = self.read_log().ok().as_deref().and_then(address) {
                (self.address, listening) = (address, true);
                continue;
            }
            ensure!(Instant::now() < deadline, "the server is not ready after a minute: {}", self.end_of_log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn read_log(&self) -> io::Result<String> {
        let length = usize::try_from(self.log.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let read = self.log.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn end_of_log(&self) -> String {
        match self.read_log() {
            Ok(log) => {
                let lines: Vec<&str> = log.lines().collect();
                let told = lines.len().saturating_sub(LINES_TOLD);
                format!("the end of its log:\n{}", lines.get(told..).unwrap_or_default().join("\n"))
            }
            Err(error) => format!("its log cannot be read: {error}"),
        }
    }

    /// Ends it with SIGTERM.
    ///
    /// # Errors
    /// It did not end well.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let status = self.end().context("could not end the server")?;
        ensure!(status.success(), "the server ended badly ({status}): {}", self.end_of_log());
        Ok(())
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        // It was not waited for, so the pid is still its.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let deadline = Instant::now() + END;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error that is on its way is more interesting than this one.
        drop(self.end());
    }
}

/// Where a server with this log listens.
fn address(log: &str) -> Option<SocketAddr> {
    log.split_once(LISTENING)?.1.split_once('\n')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_when_its_line_is_complete() {
        let log = "2026-01-01T00:00:00Z  INFO listening on http://127.0.0.1:4567";
        assert_eq!(address(log), None);
        assert_eq!(address(&format!("{log}\nmore\n")).unwrap().port(), 4567);
        assert_eq!(address("nothing\n"), None);
    }
}
