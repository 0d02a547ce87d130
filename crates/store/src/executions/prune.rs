//! What is old, and what is too much.

use aevatar_sandbox_contract::Retention;
use jiff::{SignedDuration, Timestamp};
use sqlx::Row;

use super::columns::microseconds;
use crate::{Problem, Store, database::Durability};

const TOTAL: &str = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS total FROM sandbox_executions
    WHERE finished_at IS NOT NULL";

const OLDEST: &str = "SELECT id, finished_at, bytes FROM sandbox_executions
    WHERE finished_at IS NOT NULL ORDER BY finished_at, id LIMIT $1";

const REMOVE: &str = "DELETE FROM sandbox_executions
    WHERE finished_at IS NOT NULL AND (finished_at, id) <= ($1, $2)";

/// Only one server removes at a time.
const LOCK: i64 = 0x7361_6e64_626f_7802;

/// Executions that are removed at once: others wait meanwhile, in SQLite.
const BATCH: i64 = 200;

/// Bytes that are removed at once, beside one execution.
const BATCH_BYTES: i64 = 64 << 20;

/// Batches of one call. What is left goes at the next one.
const BATCHES: u32 = 100;

pub(super) async fn prune(store: &Store, retention: Retention) -> Result<u64, Problem> {
    let total: i64 = sqlx::query_scalar(TOTAL).fetch_one(&store.database.reader).await?;
    let mut excess = total.saturating_sub(i64::try_from(retention.max_bytes).unwrap_or(i64::MAX));
    let age = SignedDuration::try_from(retention.max_age).unwrap_or(SignedDuration::MAX);
    let before = microseconds(Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN));
    let mut removed = 0;
    for _ in 0..BATCHES {
        match remove_batch(store, before, &mut excess).await? {
            0 => break,
            more => removed += more,
        }
    }
    store.database.give_back().await?;
    Ok(removed)
}

/// Removes the oldest that ended before a time, or until nothing is left of an excess of bytes.
async fn remove_batch(store: &Store, before: i64, excess: &mut i64) -> Result<u64, Problem> {
    let oldest = sqlx::query(OLDEST).bind(BATCH).fetch_all(&store.database.reader).await?;
    let mut last = None;
    let mut batch = 0_i64;
    for row in &oldest {
        let (at, size) = (row.try_get::<i64, _>("finished_at")?, row.try_get::<i64, _>("bytes")?);
        let goes = at < before || *excess > 0;
        if !goes || (last.is_some() && batch.saturating_add(size) > BATCH_BYTES) {
            break;
        }
        batch = batch.saturating_add(size);
        *excess = excess.saturating_sub(size);
        last = Some((at, row.try_get::<&str, _>("id")?));
    }
    let Some((at, id)) = last else { return Ok(0) };
    let mut transaction = store.database.begin(Durability::Relaxed).await?;
    if !store.database.try_alone(&mut transaction, LOCK).await? {
        transaction.rollback().await?;
        return Ok(0);
    }
    let removed = sqlx::query(REMOVE).bind(at).bind(id).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(removed.rows_affected())
}
