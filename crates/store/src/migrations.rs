//! The schema of each database, version by version. A version that was released never changes.

use sqlx::{
    AnyConnection, SqlSafeStr,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

use crate::Problem;

/// What each version adds, the first one first.
pub(crate) type Schema = [(&'static str, &'static str)];

pub(crate) const SQLITE: &Schema =
    &[("executions and keys", include_str!("../migrations/sqlite/0001_executions_and_keys.sql"))];

pub(crate) const POSTGRES: &Schema =
    &[("executions and keys", include_str!("../migrations/postgres/0001_executions_and_keys.sql"))];

/// Where the versions that a database has are recorded.
const TABLE: &str = "sandbox_migrations";

/// The database was used by a newer program, or is another one's.
#[derive(Debug, thiserror::Error)]
enum SchemaError {
    #[error(
        "the database has version {found} of the schema, and this program knows versions up to {known}: use a newer program"
    )]
    Newer { found: i64, known: i64 },
    #[error("version {version} of the schema in the database is not the one that this program knows")]
    Other { version: i64 },
}

/// Brings the database to the newest version. On failure the connection may hold a lock: it must not be used again.
pub(crate) async fn migrate(connection: &mut AnyConnection, schema: &Schema) -> Result<(), Problem> {
    let migrations: Vec<Migration> = (1..)
        .zip(schema)
        .map(|(version, (name, sql))| {
            Migration::new(version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    let known = migrations.last().map_or(0, |migration| migration.version);
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.dangerous_set_table_name(TABLE);
    migrator.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => SchemaError::Newer { found, known }.into(),
        MigrateError::VersionMismatch(version) => SchemaError::Other { version }.into(),
        other => Problem::from(other),
    })
}
