//! How values stand in columns.

use aevatar_sandbox_contract::{Allowance, ExecutionRecord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::{Row, any::AnyRow};

use crate::Problem;

/// Nanoseconds are forgotten.
pub(crate) fn microseconds(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub(crate) fn timestamp(microseconds: i64) -> Result<Timestamp, Problem> {
    Ok(Timestamp::from_microsecond(microseconds)?)
}

/// A value that is one word in JSON, without quotation marks.
pub(super) fn word(value: &impl Serialize) -> Result<String, Problem> {
    match serde_json::to_value(value)? {
        serde_json::Value::String(word) => Ok(word),
        other => Err(format!("{other} is not a word").into()),
    }
}

pub(super) fn from_word<T: DeserializeOwned>(word: String) -> Result<T, Problem> {
    Ok(serde_json::from_value(serde_json::Value::String(word))?)
}

/// Bytes as a database counts them.
pub(super) fn bytes(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// What is needed of an execution only until it has ended, beside its request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Waiting {
    pub(super) allowance: Allowance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) idempotency_key: Option<String>,
}

/// A row with the columns of `record_columns`.
pub(super) fn read_record(row: &AnyRow) -> Result<ExecutionRecord, Problem> {
    let time = |column: &str| row.try_get::<Option<i64>, _>(column)?.map(timestamp).transpose();
    Ok(ExecutionRecord {
        id: row.try_get::<&str, _>("id")?.parse()?,
        owner: row.try_get("owner")?,
        request_digest: row.try_get("request_digest")?,
        status: from_word(row.try_get("status")?)?,
        reason: row.try_get::<Option<String>, _>("reason")?.map(from_word).transpose()?,
        queued_at: timestamp(row.try_get("queued_at")?)?,
        started_at: time("started_at")?,
        finished_at: time("finished_at")?,
    })
}

/// The columns of a record, with the SQL before and after them.
macro_rules! record_columns {
    ($before:literal, $after:literal) => {
        concat!($before, " id, owner, request_digest, status, reason, queued_at, started_at, finished_at ", $after)
    };
}
pub(super) use record_columns;
