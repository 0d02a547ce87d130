//! A server that is tried or measured.

use std::{
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::ensure;
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};

/// On a disk: a tmpfs may be too small for those of sandboxes.
const FOLDER: &str = "target/tmp";
/// For its start, and for its end.
const PATIENCE: Duration = Duration::from_mins(2);

/// A server with an empty cache but for the environments. It ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    place: tempfile::TempDir,
}

impl Server {
    /// `binary`, with these variables.
    pub(crate) fn start(binary: &str, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let binary = fs::canonicalize(binary)?;
        fs::create_dir_all(FOLDER)?;
        let place = tempfile::Builder::new().prefix("place-").tempdir_in(FOLDER)?;
        let cache = fs::canonicalize(place.path())?.join("cache");
        fs::create_dir(&cache)?;
        let prepared = aevatar_sandbox::cache_folder()?;
        for name in ["environments", "locks", "interpreters.json"] {
            symlink(prepared.join(name), cache.join(name))?;
        }
        let log = std::fs::File::from(fs::File::create(place.path().join("log"))?);
        let child = Command::new(binary)
            .args(["serve", "--port", "0"])
            .envs(settings.iter().copied())
            .env("AEVATAR_SANDBOX_CACHE", cache)
            .current_dir(place.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut server = Self { child, url: String::new(), place };
        let started = Instant::now();
        while server.url.is_empty() || !server.log()?.contains(" ready\n") {
            ensure!(server.child.try_wait()?.is_none(), "the server has ended: {}", server.log()?);
            ensure!(started.elapsed() < PATIENCE, "the server is not ready: {}", server.log()?);
            std::thread::sleep(Duration::from_millis(100));
            let log = server.log()?;
            let address = log.split_once("listening on ").and_then(|(_, rest)| rest.split_once('\n'));
            server.url = address.map(|(address, _)| address.trim().to_owned()).unwrap_or_default();
        }
        Ok(server)
    }

    fn log(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.place.path().join("log"))?).into_owned())
    }

    /// A folder of its own.
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }

    /// Its log, once it has ended.
    pub(crate) fn stop(mut self) -> anyhow::Result<String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let started = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(started.elapsed() < PATIENCE, "the server does not end: {}", tail(&self.log()?));
            std::thread::sleep(Duration::from_millis(50));
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}: {}", tail(&self.log()?));
        self.log()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
