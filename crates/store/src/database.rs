//! Connections: where they lead, how they are set up, and how what is written becomes durable.

use std::{
    fmt::{self, Write},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Any, AnyConnection, AnyPool, ConnectOptions, Connection, Executor, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions},
};

use crate::{Problem, connection_string::ConnectionString, migrations};

/// Name of the SQLite database in its folder.
const FILE: &str = "executions.sqlite";

/// Only one process at a time opens the database in a folder: SQLite has no lock for migrations.
const OPENING: &str = "open.lock";

/// Connections that read at the same time, in SQLite. There is one that writes: SQLite lets only one write.
const READERS: u32 = 4;

/// Connections to PostgreSQL, unless the connection string says otherwise; one more shows that the server lives.
const POSTGRES_CONNECTIONS: u32 = 10;

/// A connection that was in use this long ago is there: to ask costs as much as a statement.
const TRUSTED: Duration = Duration::from_secs(1);

/// How long one waits for a connection, unless the connection string says otherwise.
const PATIENCE: Duration = Duration::from_secs(15);

/// `busy_timeout` is for other processes only. The limit is for the log of changes after a burst.
const SQLITE_WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 10000; \
                             PRAGMA journal_size_limit = 67108864;";

/// Before there is anything in it: the file can shrink when much was removed. It cannot be decided later.
const SQLITE_NEW: &str = "PRAGMA auto_vacuum = INCREMENTAL;";

/// Pages of SQLite that are worth giving back to the disk: some megabytes. Fewer are soon used again.
const WORTH_GIVING_BACK: i64 = 4096;

/// Gives back at most 64 MiB at once: nobody else writes meanwhile.
const GIVE_BACK: &str = "PRAGMA incremental_vacuum(16384)";

const SQLITE_READER: &str = "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON;";

/// What a loss of power may do to what is written. PostgreSQL has its own setting for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing.
    Synced,
    /// It may be taken back: nothing waits for the disk.
    Relaxed,
}

/// The kind of a database, with what is needed to be a server of it.
#[derive(Clone)]
pub(crate) enum Home {
    /// SQLite, in this folder.
    Folder(PathBuf),
    /// PostgreSQL.
    Postgres(AnyConnectOptions),
}

impl fmt::Debug for Home {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => formatter.debug_tuple("Folder").field(folder).finish(),
            // The options have the password.
            Self::Postgres(_) => formatter.debug_tuple("Postgres").finish_non_exhaustive(),
        }
    }
}

/// An open database with the newest schema.
pub(crate) struct Database {
    pub(crate) home: Home,
    /// For what only reads, outside a transaction.
    pub(crate) reader: AnyPool,
    writer: AnyPool,
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A pool shows its options, and those have the password.
        formatter.debug_struct("Database").field("home", &self.home).finish_non_exhaustive()
    }
}

impl Database {
    pub(crate) async fn in_folder(folder: PathBuf) -> Result<Self, Problem> {
        sqlx::any::install_default_drivers();
        let (folder, opening) = tokio::task::spawn_blocking(|| prepare(folder)).await??;
        let options = sqlite_options(&folder.join(FILE))?;
        let mut connection = AnyConnection::connect_with(&options).await?;
        connection.execute(SQLITE_NEW).await?;
        connection.execute(SQLITE_WRITER).await?;
        migrations::migrate(&mut connection, migrations::SQLITE).await?;
        connection.close().await?;
        let writer = sqlite_pool(1, SQLITE_WRITER).connect_with(options.clone()).await?;
        let reader = sqlite_pool(READERS, SQLITE_READER).connect_lazy_with(options);
        drop(opening);
        Ok(Self { home: Home::Folder(folder), reader, writer })
    }

    pub(crate) async fn on_postgres(location: &ConnectionString) -> Result<Self, Problem> {
        sqlx::any::install_default_drivers();
        let options = AnyConnectOptions::from_url(location.url())?.disable_statement_logging();
        let patience = location.timeout().unwrap_or(PATIENCE);
        let mut connection = tokio::time::timeout(patience, AnyConnection::connect_with(&options))
            .await
            .map_err(|_| format!("PostgreSQL did not answer for {} seconds", patience.as_secs()))??;
        // With an error, the connection is dropped, and with it the lock that it may hold.
        migrations::migrate(&mut connection, migrations::POSTGRES).await?;
        connection.close().await?;
        let pool = AnyPoolOptions::new()
            .max_connections(location.max_connections().unwrap_or(POSTGRES_CONNECTIONS))
            .acquire_timeout(patience)
            .test_before_acquire(false)
            .before_acquire(|connection, state| {
                Box::pin(async move {
                    if state.idle_for > TRUSTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options.clone());
        Ok(Self { home: Home::Postgres(options), reader: pool.clone(), writer: pool })
    }

    /// A transaction that writes. It is given up when it is dropped.
    pub(crate) async fn begin(&self, durability: Durability) -> Result<Transaction<'static, Any>, sqlx::Error> {
        // The pragma is there each time, since a transaction before this one may have said otherwise.
        let begin = match (&self.home, durability) {
            (Home::Folder(_), Durability::Synced) => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
            (Home::Folder(_), Durability::Relaxed) => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
            (Home::Postgres(_), _) => "BEGIN",
        };
        self.writer.begin_with(begin).await
    }

    /// Whether this transaction has the name to itself among the servers until it ends. `false` when another one has
    /// it.
    pub(crate) async fn try_alone(
        &self,
        transaction: &mut Transaction<'_, Any>,
        name: i64,
    ) -> Result<bool, sqlx::Error> {
        match self.home {
            // Only one transaction writes at a time.
            Home::Folder(_) => Ok(true),
            Home::Postgres(_) => {
                sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
                    .bind(name)
                    .fetch_one(&mut **transaction)
                    .await
            }
        }
    }

    /// Makes the file of SQLite smaller, where a good part of it is of no use. PostgreSQL looks after its files itself.
    pub(crate) async fn give_back(&self) -> Result<(), sqlx::Error> {
        if matches!(self.home, Home::Postgres(_)) {
            return Ok(());
        }
        let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&self.reader).await?;
        let all: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&self.reader).await?;
        if free > WORTH_GIVING_BACK && free > all / 4 {
            sqlx::query(GIVE_BACK).execute(&self.writer).await?;
        }
        Ok(())
    }

    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Makes what is missing of the folder and the file, for this user only. The folder's full path, and a lock against
/// others that open it.
fn prepare(folder: PathBuf) -> Result<(PathBuf, fs_err::File), Problem> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| format!("could not make the folder {}: {error}", folder.display()))?;
    let folder = fs_err::canonicalize(folder)?;
    let opening = private(fs_err::OpenOptions::new().write(true).create(true)).open(folder.join(OPENING))?;
    rustix::fs::flock(&opening, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| format!("could not lock {}: {error}", opening.path().display()))?;
    // SQLite gives the files beside it the same mode. One that is there is not opened: closing it would end the locks
    // of this process's other connections to it.
    match private(fs_err::OpenOptions::new().write(true).create_new(true)).open(folder.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok((folder, opening)),
    }
}

/// A new file is for this user only.
fn private(options: &mut fs_err::OpenOptions) -> &fs_err::OpenOptions {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

fn sqlite_options(file: &Path) -> Result<AnyConnectOptions, Problem> {
    let path = file.to_str().ok_or_else(|| format!("the path {} is not UTF-8", file.display()))?;
    let mut url = String::from("sqlite://");
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _written = write!(url, "%{byte:02X}");
        }
    }
    url.push_str("?mode=rw");
    Ok(url.parse::<AnyConnectOptions>()?.disable_statement_logging())
}

/// Connections to SQLite are kept: they cannot be lost.
fn sqlite_pool(connections: u32, setup: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(setup).await?;
                Ok(())
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sqlite_writes_as_it_is_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::in_folder(folder.path().to_path_buf()).await.unwrap();
        for (durability, synchronous) in
            [(Durability::Synced, 2_i64), (Durability::Relaxed, 1), (Durability::Synced, 2)]
        {
            let mut transaction = database.begin(durability).await.unwrap();
            let mut pragma = async |query: &'static str| -> i64 {
                sqlx::query_scalar(query).fetch_one(&mut *transaction).await.unwrap()
            };
            assert_eq!(pragma("PRAGMA synchronous").await, synchronous);
            assert_eq!(pragma("PRAGMA foreign_keys").await, 1);
            assert_eq!(pragma("PRAGMA auto_vacuum").await, 2);
        }
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&database.reader).await.unwrap();
        assert_eq!(mode, "wal");
        let refused = sqlx::query("DELETE FROM sandbox_keys").execute(&database.reader).await;
        assert!(refused.is_err(), "what reads cannot write");
        database.close().await;
    }
}
