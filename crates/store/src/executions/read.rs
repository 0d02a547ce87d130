//! What is recorded, for its owner.

use aevatar_sandbox_contract::{
    CollectedFile, ExecutionEvent, ExecutionId, ExecutionQuery, ExecutionRecord, OutputFile, SandboxExecutionResult,
};
use serde::de::DeserializeOwned;
use sqlx::{AnyPool, Row};

use super::columns::{read_record, record_columns, word};
use crate::{Problem, Store};

const RECORD: &str = record_columns!("SELECT", "FROM sandbox_executions WHERE id = $1 AND owner = $2");

const RESULT: &str =
    "SELECT result AS json FROM sandbox_executions WHERE id = $1 AND owner = $2 AND finished_at IS NOT NULL";

const EVENTS: &str =
    "SELECT events AS json FROM sandbox_executions WHERE id = $1 AND owner = $2 AND finished_at IS NOT NULL";

const FILE: &str = "SELECT size, mime_type, sha256, content FROM sandbox_files
    WHERE execution_id = (SELECT id FROM sandbox_executions WHERE id = $1 AND owner = $2) AND path = $3";

const LIST: &str =
    record_columns!("SELECT", "FROM sandbox_executions WHERE owner = $1 AND id < $2 ORDER BY id DESC LIMIT $3");

const LIST_OF_STATUS: &str = record_columns!(
    "SELECT",
    "FROM sandbox_executions WHERE owner = $1 AND id < $2 AND status = $4 ORDER BY id DESC LIMIT $3"
);

/// Comes after all ids.
const AFTER_ALL: &str = "~";

pub(super) async fn record(store: &Store, owner: &str, id: ExecutionId) -> Result<Option<ExecutionRecord>, Problem> {
    let row = sqlx::query(RECORD).bind(id.to_string()).bind(owner).fetch_optional(&store.database.reader).await?;
    row.as_ref().map(read_record).transpose()
}

pub(super) async fn result(
    store: &Store,
    owner: &str,
    id: ExecutionId,
) -> Result<Option<SandboxExecutionResult>, Problem> {
    json(&store.database.reader, RESULT, owner, id).await
}

pub(super) async fn events(
    store: &Store,
    owner: &str,
    id: ExecutionId,
) -> Result<Option<Vec<ExecutionEvent>>, Problem> {
    json(&store.database.reader, EVENTS, owner, id).await
}

async fn json<T: DeserializeOwned>(
    pool: &AnyPool,
    query: &'static str,
    owner: &str,
    id: ExecutionId,
) -> Result<Option<T>, Problem> {
    let row = sqlx::query(query).bind(id.to_string()).bind(owner).fetch_optional(pool).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(row.try_get::<Option<&str>, _>("json")?.map(serde_json::from_str).transpose()?)
}

/// Without what the result itself has of the content.
pub(super) async fn file(
    store: &Store,
    owner: &str,
    id: ExecutionId,
    path: &str,
) -> Result<Option<CollectedFile>, Problem> {
    // PostgreSQL has no text with NUL, and no file has such a name.
    if path.contains('\0') {
        return Ok(None);
    }
    let query = sqlx::query(FILE).bind(id.to_string()).bind(owner).bind(path);
    let Some(row) = query.fetch_optional(&store.database.reader).await? else { return Ok(None) };
    let file = OutputFile {
        path: path.to_owned(),
        size: u64::try_from(row.try_get::<i64, _>("size")?)?,
        mime_type: row.try_get("mime_type")?,
        sha256: row.try_get("sha256")?,
        content: None,
    };
    Ok(Some(CollectedFile { file, content: row.try_get("content")? }))
}

pub(super) async fn list(store: &Store, query: &ExecutionQuery) -> Result<Vec<ExecutionRecord>, Problem> {
    let before = query.before.map_or_else(|| AFTER_ALL.to_owned(), |id| id.to_string());
    let select = sqlx::query(if query.status.is_some() { LIST_OF_STATUS } else { LIST })
        .bind(&query.owner)
        .bind(before)
        .bind(i64::from(query.limit));
    let select = match &query.status {
        Some(status) => select.bind(word(status)?),
        None => select,
    };
    select.fetch_all(&store.database.reader).await?.iter().map(read_record).collect()
}
