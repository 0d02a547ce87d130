//! What waits and runs.

use aevatar_sandbox_contract::{ExecutionId, ExecutionStatus, NewExecution, Recorded};
use sha2::{Digest, Sha256};
use sqlx::Row;

use super::columns::{Waiting, bytes, microseconds, word};
use crate::{Problem, Store, database::Durability};

const ENQUEUE: &str = "INSERT INTO sandbox_executions
    (id, owner, request_digest, idempotency_digest, status, server, queued_at, bytes, waiting, request)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";

const SAME_NAME: &str = "SELECT id, request_digest FROM sandbox_executions
    WHERE owner = $1 AND idempotency_digest = $2";

const START: &str = "UPDATE sandbox_executions SET status = $3, started_at = $4
    WHERE id = $1 AND server = $2 AND status = $5 AND finished_at IS NULL";

const REQUEST_CANCEL: &str = "UPDATE sandbox_executions SET cancel_requested = 1
    WHERE id = $1 AND owner = $2 AND finished_at IS NULL";

const CANCEL_REQUESTS: &str = "SELECT id FROM sandbox_executions
    WHERE server = $1 AND finished_at IS NULL AND cancel_requested = 1 ORDER BY id";

const RELEASE: &str = "UPDATE sandbox_executions SET server = NULL
    WHERE server = $1 AND status = $2 AND finished_at IS NULL";

/// How often an execution of the same name may be there, and be removed before it is looked at.
const TRIES: u32 = 10;

pub(super) async fn enqueue(store: &Store, execution: &NewExecution) -> Result<Recorded, Problem> {
    let server = store.server().await?.to_string();
    let waiting = serde_json::to_string(&Waiting {
        allowance: execution.allowance.clone(),
        idempotency_key: execution.idempotency_key.clone(),
    })?;
    let request = serde_json::to_string(&execution.request)?;
    let name = execution.idempotency_key.as_ref().map(|key| format!("{:x}", Sha256::digest(key)));
    for _ in 0..TRIES {
        let mut transaction = store.database.begin(Durability::Synced).await?;
        let inserted = sqlx::query(ENQUEUE)
            .bind(execution.id.to_string())
            .bind(&execution.owner)
            .bind(&execution.request_digest)
            .bind(&name)
            .bind(word(&ExecutionStatus::Pending)?)
            .bind(&server)
            .bind(microseconds(execution.queued_at))
            .bind(bytes(waiting.len() + request.len()))
            .bind(&waiting)
            .bind(&request)
            .execute(&mut *transaction)
            .await?;
        if inserted.rows_affected() == 1 {
            transaction.commit().await?;
            return Ok(Recorded::New);
        }
        let Some(name) = &name else { break };
        let found = sqlx::query(SAME_NAME).bind(&execution.owner).bind(name).fetch_optional(&mut *transaction).await?;
        transaction.rollback().await?;
        if let Some(found) = found {
            let id = found.try_get::<&str, _>("id")?.parse()?;
            let same = found.try_get::<&str, _>("request_digest")? == execution.request_digest;
            return Ok(if same { Recorded::Same(id) } else { Recorded::Conflict(id) });
        }
    }
    Err(format!("execution {} is recorded already", execution.id).into())
}

/// Synced: a program that has started must never start again.
pub(super) async fn start(store: &Store, id: ExecutionId, at: jiff::Timestamp) -> Result<bool, Problem> {
    let server = store.server().await?.to_string();
    let mut transaction = store.database.begin(Durability::Synced).await?;
    let started = sqlx::query(START)
        .bind(id.to_string())
        .bind(server)
        .bind(word(&ExecutionStatus::Running)?)
        .bind(microseconds(at))
        .bind(word(&ExecutionStatus::Pending)?)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(started.rows_affected() == 1)
}

pub(super) async fn request_cancel(store: &Store, owner: &str, id: ExecutionId) -> Result<bool, Problem> {
    let mut transaction = store.database.begin(Durability::Synced).await?;
    let found = sqlx::query(REQUEST_CANCEL).bind(id.to_string()).bind(owner).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(found.rows_affected() == 1)
}

pub(super) async fn cancel_requests(store: &Store) -> Result<Vec<ExecutionId>, Problem> {
    let server = store.server().await?.to_string();
    let rows = sqlx::query(CANCEL_REQUESTS).bind(server).fetch_all(&store.database.reader).await?;
    rows.iter().map(|row| Ok(row.try_get::<&str, _>("id")?.parse()?)).collect()
}

pub(super) async fn release(store: &Store) -> Result<(), Problem> {
    let server = store.server().await?.to_string();
    let mut transaction = store.database.begin(Durability::Synced).await?;
    sqlx::query(RELEASE).bind(server).bind(word(&ExecutionStatus::Pending)?).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}
