//! What dead servers had.

use aevatar_sandbox_contract::{ExecutionStatus, Inheritance, NewExecution, SandboxExecutionRequest};
use sqlx::{Row, any::AnyRow};

use super::columns::{Waiting, read_record, record_columns};
use crate::{
    Problem, Store,
    database::{Durability, Home},
    presence::{self, Claim, ServerId},
};

/// Servers that have executions, and `NULL` where some were let go.
const OTHERS: &str = "SELECT DISTINCT server FROM sandbox_executions
    WHERE finished_at IS NULL AND (server IS NULL OR server <> $1)";

const FROM_SERVER: &str = record_columns!(
    "UPDATE sandbox_executions SET server = $1 WHERE finished_at IS NULL AND server = $2 RETURNING waiting, request,",
    ""
);

const LET_GO: &str = record_columns!(
    "UPDATE sandbox_executions SET server = $1 WHERE finished_at IS NULL AND server IS NULL RETURNING waiting, request,",
    ""
);

/// Lock of who takes what was let go.
const LET_GO_LOCK: i64 = 0x7361_6e64_626f_7801;

pub(super) async fn inherit(store: &Store) -> Result<Inheritance, Problem> {
    let me = store.server().await?;
    let others = sqlx::query(OTHERS).bind(me.to_string()).fetch_all(&store.database.reader).await?;
    let mut inheritance = Inheritance::default();
    let mut failure = None;
    for row in others {
        let from = row.try_get::<Option<&str>, _>("server")?.map(str::parse).transpose()?;
        if let Err(error) = take_over(store, me, from, &mut inheritance).await {
            failure = Some(error);
        }
    }
    if let Home::Folder(folder) = &store.database.home
        && let Err(error) = presence::remove_stale(folder)
    {
        tracing::warn!(%error, "the lock of a dead server stays");
    }
    match failure {
        // What was taken over must not be forgotten. The rest is there at the next call.
        Some(error) if inheritance != Inheritance::default() => {
            tracing::error!(%error, "could not take over all executions of dead servers");
        }
        Some(error) => return Err(error),
        None => {}
    }
    inheritance.queued.sort_by_key(|execution| (execution.queued_at, execution.id));
    inheritance.running.sort_by_key(|(record, _)| record.id);
    Ok(inheritance)
}

/// Takes over what a server had, if it is dead, or what was let go. All of it, or nothing.
async fn take_over(
    store: &Store,
    me: ServerId,
    from: Option<ServerId>,
    inheritance: &mut Inheritance,
) -> Result<(), Problem> {
    // Held until what it had is taken over.
    let claim = match (&store.database.home, from) {
        (Home::Folder(folder), Some(server)) => presence::claim(folder, server)?,
        _ => Claim::Granted(None),
    };
    if matches!(claim, Claim::Refused) {
        return Ok(());
    }
    let mut transaction = store.database.begin(Durability::Synced).await?;
    if !store.database.try_alone(&mut transaction, from.map_or(LET_GO_LOCK, ServerId::lock)).await? {
        return Ok(transaction.rollback().await?);
    }
    let query = match from {
        Some(server) => sqlx::query(FROM_SERVER).bind(me.to_string()).bind(server.to_string()),
        None => sqlx::query(LET_GO).bind(me.to_string()),
    };
    let mut found = Inheritance::default();
    for row in query.fetch_all(&mut *transaction).await? {
        add(&mut found, &row)?;
    }
    transaction.commit().await?;
    drop(claim);
    inheritance.queued.append(&mut found.queued);
    inheritance.running.append(&mut found.running);
    Ok(())
}

fn add(inheritance: &mut Inheritance, row: &AnyRow) -> Result<(), Problem> {
    let record = read_record(row)?;
    let request: SandboxExecutionRequest = serde_json::from_str(row.try_get("request")?)?;
    if record.status == ExecutionStatus::Running {
        inheritance.running.push((record, request));
        return Ok(());
    }
    let waiting: Waiting = serde_json::from_str(row.try_get("waiting")?)?;
    inheritance.queued.push(NewExecution {
        id: record.id,
        owner: record.owner,
        request_digest: record.request_digest,
        idempotency_key: waiting.idempotency_key,
        queued_at: record.queued_at,
        request,
        allowance: waiting.allowance,
    });
    Ok(())
}
