//! Where records of executions and keys are: SQLite in the data folder, or the database that is configured.

use std::path::Path;

use aevatar_sandbox::{ErrorCode, SandboxError, configuration::Configuration};
use aevatar_sandbox_store::{ConnectionString, Store, StoreLocation};

/// Below the data folder.
const FOLDER: &str = "records";

/// Opens the store, and makes it where there is none.
///
/// # Errors
/// The connection string makes no sense, or the store cannot be used.
pub(super) async fn open(configuration: &Configuration, data_folder: &Path) -> Result<Store, SandboxError> {
    let location = match &configuration.connection_string {
        Some(text) => StoreLocation::Postgres(text.reveal().parse::<ConnectionString>().map_err(|error| {
            SandboxError::new(ErrorCode::InvalidRequest, format!("the connection string makes no sense: {error}"))
                .with_hint(
                    "set `ConnectionStrings:Sandbox` to a `postgres://` URL or to `Host=…;Database=…;Username=…`",
                )
                .with_source(error)
        })?),
        None => StoreLocation::Folder(data_folder.join(FOLDER)),
    };
    Store::open(location).await.map_err(|error| {
        let hint = match &configuration.connection_string {
            Some(_) => "check `ConnectionStrings:Sandbox`, and whether the database server answers",
            None => "check who owns the data folder and whether its disk is full, or choose another with `DataDir`",
        };
        SandboxError::new(ErrorCode::StoreUnavailable, error.to_string()).with_hint(hint).with_source(error)
    })
}
