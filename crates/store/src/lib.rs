//! Records of executions, and keys, in SQLite or PostgreSQL.
//!
//! [`Store`] is both an [`ExecutionStore`](aevatar_sandbox_contract::ExecutionStore) and a
//! [`KeyStore`](aevatar_sandbox_contract::KeyStore). There is one implementation: what differs between the databases is
//! in `database.rs` and `presence/`. What callers and programs wrote travels as bind parameters only.
//!
//! Each open store that has executions is a server among those that share the database. That it lives is shown by a lock
//! that dies with it: on a file beside an SQLite database, of a session of PostgreSQL. So a pooler that gives
//! transactions, not sessions, to its clients cannot stand between a server and PostgreSQL.

mod connection_string;
mod database;
mod executions;
mod keys;
mod migrations;
mod presence;
mod store;

pub use connection_string::{ConnectionString, ConnectionStringError};
pub use store::{Store, StoreLocation};

/// Why something failed, before it is said what.
type Problem = Box<dyn std::error::Error + Send + Sync>;
