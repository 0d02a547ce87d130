//! A PostgreSQL server of the tests' own.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use tempfile::TempDir;

/// PostgreSQL refuses to run as root; as root, it runs as nobody.
const NOBODY: u32 = 65534;

/// A server on a socket in a folder of its own. It ends, and the folder goes, when this is dropped.
pub(crate) struct Postgres {
    folder: TempDir,
    server: Child,
    databases: AtomicU32,
}

impl Postgres {
    pub(crate) fn start() -> Result<Self, String> {
        let programs = programs().ok_or(
            "no PostgreSQL: neither PATH nor /usr/lib/postgresql/*/bin has `initdb` and `postgres`; \
             on Debian and Ubuntu, install the package `postgresql`",
        )?;
        let folder = tempfile::Builder::new().prefix("sandbox-store-").tempdir().map_err(|error| error.to_string())?;
        let is_root = fs_err::metadata(folder.path()).map_err(|error| error.to_string())?.uid() == 0;
        if is_root {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).map_err(|error| error.to_string())?;
        }
        let data = folder.path().join("data");
        let initdb = as_nobody(is_root, &programs.join("initdb"))
            .args(["--no-sync", "--no-instructions", "--auth=trust", "--username=sandbox", "--encoding=UTF8"])
            // Not C: in C, anything sorts by its bytes.
            .args(["--locale=C.UTF-8", "--pgdata"])
            .arg(&data)
            .output()
            .map_err(|error| format!("could not run initdb: {error}"))?;
        if !initdb.status.success() {
            return Err(format!("initdb failed: {}", String::from_utf8_lossy(&initdb.stderr)));
        }
        let log = folder.path().join("log");
        let output = fs_err::File::create(&log).map_err(|error| error.to_string())?.into_file();
        let server = as_nobody(is_root, &programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=300"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .map_err(|error| format!("could not run postgres: {error}"))?;
        let mut postgres = Self { folder, server, databases: AtomicU32::new(0) };
        postgres.wait_until_ready(&log)?;
        Ok(postgres)
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let said = fs_err::read_to_string(log).unwrap_or_default();
            if said.contains("database system is ready to accept connections") {
                return Ok(());
            }
            let ended = self.server.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(format!("postgres did not start: {said}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// An empty database: its connection string, in the form of .NET.
    pub(crate) async fn database(&self) -> (String, String) {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(&self.url("postgres")).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        (format!("Host={};Database={name};Username=sandbox", self.folder.path().display()), self.url(&name))
    }

    /// The connection string of a database; `postgres` is there from the beginning.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?user=sandbox&host={}", self.folder.path().display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.server.id().cast_signed()) {
            // Fast shutdown: it waits for no client.
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let _ended = self.server.wait();
    }
}

/// A program that ends when these tests do, even if they are killed.
fn as_nobody(is_root: bool, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root {
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    }
    // The folder that the tests run in may be closed to nobody.
    command.arg(program).current_dir("/").env_remove("PGDATA");
    command
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = fs_err::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.filter_map(Result::ok).map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    let version = |folder: &PathBuf| -> u32 {
        let name = folder.parent().and_then(Path::file_name).unwrap_or_default();
        name.to_string_lossy().parse().unwrap_or(0)
    };
    folders.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders.push(PathBuf::from("/usr/local/bin"));
    folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}
