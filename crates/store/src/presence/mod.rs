//! That a server lives, and how others see that it does not.

mod lock_file;
mod session;

use std::{fmt, str::FromStr};

use uuid::Uuid;

pub(crate) use lock_file::{Claim, claim, remove_stale};

use self::{lock_file::LockFile, session::Session};
use crate::{
    Problem,
    database::{Database, Home},
};

/// A server among those that share a database. No two ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerId(Uuid);

impl ServerId {
    fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Its lock in PostgreSQL: the random half.
    pub(crate) fn lock(self) -> i64 {
        let (_, random) = self.0.as_u64_pair();
        i64::from_be_bytes(random.to_be_bytes())
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

impl FromStr for ServerId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A lock that others find free when this server is dead.
#[derive(Debug)]
pub(crate) enum Presence {
    File(LockFile),
    Session(Session),
}

impl Presence {
    /// Shows that there is one more server.
    pub(crate) async fn register(database: &Database) -> Result<Self, Problem> {
        match &database.home {
            Home::Folder(folder) => Ok(Self::File(LockFile::create(folder)?)),
            Home::Postgres(options) => Ok(Self::Session(Session::open(options.clone()).await?)),
        }
    }

    /// Which server this is. It may become another one when PostgreSQL was out of reach.
    pub(crate) fn id(&self) -> ServerId {
        match self {
            Self::File(file) => file.id(),
            Self::Session(session) => session.id(),
        }
    }

    /// The server is dead from now on.
    pub(crate) async fn close(&self) {
        match self {
            Self::File(file) => file.remove(),
            Self::Session(session) => session.close().await,
        }
    }
}
