//! A store: opened, used through the contract's traits, closed.

use std::path::PathBuf;

use aevatar_sandbox_contract::StoreError;
use tokio::sync::OnceCell;

use crate::{
    Problem,
    connection_string::ConnectionString,
    database::Database,
    presence::{Presence, ServerId},
};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// An SQLite database in this folder, which is made where it is missing. For servers of one host: the folder must be
    /// on a disk of its own, not on a network's.
    Folder(PathBuf),
    /// A PostgreSQL database, which exists. Its tables are made, with names that begin with `sandbox_`.
    Postgres(ConnectionString),
}

/// Records of executions, and keys.
///
/// In SQLite, a power loss may take back the last ends of executions, and nothing else: an execution that was recorded
/// before is then found running, and is ended as interrupted; a crash of the process alone takes back nothing.
#[derive(Debug)]
pub struct Store {
    pub(crate) database: Database,
    presence: OnceCell<Presence>,
}

impl Store {
    /// Opens a store, and makes it or brings it to the newest schema where that is needed.
    ///
    /// # Errors
    /// The folder or the database cannot be used, or a newer program has used it.
    pub async fn open(location: StoreLocation) -> Result<Self, StoreError> {
        let database = match location {
            StoreLocation::Folder(folder) => {
                Database::in_folder(folder).await.map_err(|source| StoreError::new("open the SQLite store", source))?
            }
            StoreLocation::Postgres(connection) => Database::on_postgres(&connection)
                .await
                .map_err(|source| StoreError::new("open the PostgreSQL store", source))?,
        };
        Ok(Self { database, presence: OnceCell::new() })
    }

    /// Closes it. What this server has and has not released is a dead server's from now on.
    pub async fn close(&self) {
        self.database.close().await;
        if let Some(presence) = self.presence.get() {
            presence.close().await;
        }
    }

    /// This server. A store that only reads, or is used for keys, never is one.
    pub(crate) async fn server(&self) -> Result<ServerId, Problem> {
        let presence = self.presence.get_or_try_init(|| Presence::register(&self.database)).await?;
        Ok(presence.id())
    }
}
