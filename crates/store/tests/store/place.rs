//! An empty database of either kind, for one test.

use std::{fmt, path::Path};

use aevatar_sandbox_store::{Store, StoreLocation};
use sqlx::{AnyConnection, Connection};
use tempfile::TempDir;

use crate::postgres::Postgres;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        })
    }
}

pub(crate) struct Place {
    /// As [`location_of`] reads it.
    pub(crate) text: String,
    url: String,
    folder: Option<TempDir>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("store").display().to_string();
        let url = format!("sqlite://{text}/executions.sqlite");
        Self { text, url, folder: Some(folder) }
    }

    pub(crate) async fn postgres(postgres: &Postgres) -> Self {
        let (text, url) = postgres.database().await;
        Self { text, url, folder: None }
    }

    pub(crate) const fn kind(&self) -> Kind {
        if self.folder.is_some() { Kind::Sqlite } else { Kind::Postgres }
    }

    /// The folder of the SQLite database.
    pub(crate) fn folder(&self) -> &Path {
        assert_eq!(self.kind(), Kind::Sqlite);
        Path::new(&self.text)
    }

    pub(crate) fn location(&self) -> StoreLocation {
        location_of(&self.text)
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(self.location()).await.unwrap()
    }

    /// The database itself, without the store.
    pub(crate) async fn connect(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.url).await.unwrap()
    }
}

/// A connection string, or a folder's path.
pub(crate) fn location_of(text: &str) -> StoreLocation {
    if text.starts_with('/') {
        StoreLocation::Folder(text.into())
    } else {
        StoreLocation::Postgres(text.parse().unwrap())
    }
}
