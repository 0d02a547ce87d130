//! The end of an execution.

use aevatar_sandbox_contract::{CollectedFile, FinishedExecution};
use sqlx::{Any, Transaction};

use super::columns::{bytes, microseconds, word};
use crate::{Problem, Store, database::Durability};

/// One that was not recorded before is recorded as ended; one that was is ended, if it is this server's and has not.
const FINISH: &str = "INSERT INTO sandbox_executions
    (id, owner, request_digest, status, reason, queued_at, started_at, finished_at, bytes, request, result, events)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (id) DO UPDATE SET
        status = excluded.status, reason = excluded.reason, started_at = excluded.started_at,
        finished_at = excluded.finished_at, bytes = excluded.bytes, request = excluded.request,
        result = excluded.result, events = excluded.events, waiting = NULL, server = NULL
    WHERE sandbox_executions.server = $13 AND sandbox_executions.finished_at IS NULL";

const ADD_FILE: &str = "INSERT INTO sandbox_files (execution_id, position, path, size, mime_type, sha256, content)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// Relaxed: there are hundreds in a second, and one that is taken back is found running.
pub(super) async fn finish(store: &Store, execution: &FinishedExecution) -> Result<bool, Problem> {
    let server = store.server().await?.to_string();
    let result = &execution.result;
    let id = result.execution_id.to_string();
    let request = execution.request.as_ref().map(serde_json::to_string).transpose()?;
    let result_json = serde_json::to_string(result)?;
    let events = serde_json::to_string(&execution.events)?;
    let files: usize = execution.files.iter().map(|file| file.file.path.len() + file.content.len()).sum();
    let size = request.as_ref().map_or(0, String::len) + result_json.len() + events.len() + files;

    let mut transaction = store.database.begin(Durability::Relaxed).await?;
    let finished = sqlx::query(FINISH)
        .bind(&id)
        .bind(&execution.owner)
        .bind(&execution.request_digest)
        .bind(word(&result.status)?)
        .bind(word(&result.termination.reason)?)
        .bind(microseconds(result.queued_at))
        .bind(result.started_at.map(microseconds))
        .bind(microseconds(result.finished_at))
        .bind(bytes(size))
        .bind(request)
        .bind(result_json)
        .bind(events)
        .bind(server)
        .execute(&mut *transaction)
        .await?;
    if finished.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(false);
    }
    for (position, file) in (0_i64..).zip(&execution.files) {
        add_file(&mut transaction, &id, position, file).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

async fn add_file(
    transaction: &mut Transaction<'_, Any>,
    id: &str,
    position: i64,
    file: &CollectedFile,
) -> Result<(), sqlx::Error> {
    sqlx::query(ADD_FILE)
        .bind(id)
        .bind(position)
        .bind(&file.file.path)
        .bind(i64::try_from(file.file.size).unwrap_or(i64::MAX))
        .bind(&file.file.mime_type)
        .bind(&file.file.sha256)
        .bind(file.content.as_slice())
        .execute(&mut **transaction)
        .await
        .map(drop)
}
