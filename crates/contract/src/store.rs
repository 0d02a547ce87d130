//! What a store of executions must offer to the service, and of keys to the door.
//!
//! A store outlives its server, and several servers may share one. Each execution belongs to the server that runs it. A
//! server that is dead is noticed by the others, or by itself when it starts again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    caller::Allowance,
    execution::ExecutionEvent,
    files::CollectedFile,
    request::SandboxExecutionRequest,
    result::{ExecutionId, ExecutionStatus, SandboxExecutionResult, TerminationReason},
};

/// A store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("could not {action}")]
pub struct StoreError {
    /// What failed: `record an execution`.
    pub action: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// `action` failed because of `source`.
    pub fn new(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { action, source: source.into() }
    }
}

/// An execution that is to be recorded before it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct NewExecution {
    /// Which.
    pub id: ExecutionId,
    /// Whose; empty where callers are not told apart.
    pub owner: String,
    /// Hex SHA-256 of the request.
    pub request_digest: String,
    /// The caller's own name for the request: the same owner, name and digest are the same execution.
    pub idempotency_key: Option<String>,
    /// When it was asked for.
    pub queued_at: jiff::Timestamp,
    /// What to run: kept until it has ended, so that it can be run after a crash.
    pub request: SandboxExecutionRequest,
    /// What its owner may, as it was when it was asked for.
    pub allowance: Allowance,
}

/// What came of recording one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is new.
    New,
    /// The same owner has asked for the same under this name: that execution.
    Same(ExecutionId),
    /// The same owner has used this name for something else.
    Conflict(ExecutionId),
}

/// The end of an execution.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedExecution {
    /// Whose; of one that was not recorded before.
    pub owner: String,
    /// Hex SHA-256 of the request; likewise.
    pub request_digest: String,
    /// What came of it.
    pub result: SandboxExecutionResult,
    /// All that happened, without the result itself; the store need not keep them where it keeps no output.
    pub events: Vec<ExecutionEvent>,
    /// What the program left.
    pub files: Vec<CollectedFile>,
    /// What was run, where programs are to be kept.
    pub request: Option<SandboxExecutionRequest>,
}

/// An execution as it is recorded, without what is large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionRecord {
    /// Which.
    pub id: ExecutionId,
    /// Whose.
    pub owner: String,
    /// Hex SHA-256 of the request.
    pub request_digest: String,
    /// Where it is.
    pub status: ExecutionStatus,
    /// Why it ended.
    pub reason: Option<TerminationReason>,
    /// When it was asked for.
    pub queued_at: jiff::Timestamp,
    /// When the program started.
    pub started_at: Option<jiff::Timestamp>,
    /// When it had ended.
    pub finished_at: Option<jiff::Timestamp>,
}

impl ExecutionRecord {
    /// One that waits.
    pub const fn waiting(id: ExecutionId, owner: String, request_digest: String, queued_at: jiff::Timestamp) -> Self {
        Self {
            id,
            owner,
            request_digest,
            status: ExecutionStatus::Pending,
            reason: None,
            queued_at,
            started_at: None,
            finished_at: None,
        }
    }
}

/// Which executions to list: the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionQuery {
    /// Whose.
    pub owner: String,
    /// Only those that are there; all when left out.
    pub status: Option<ExecutionStatus>,
    /// Only those that are older than this one.
    pub before: Option<ExecutionId>,
    /// How many, at most.
    pub limit: u32,
}

/// What is taken over from servers that are dead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inheritance {
    /// What waited there, the oldest first: this server's now.
    pub queued: Vec<NewExecution>,
    /// What ran there: this server's now, to be ended as interrupted.
    pub running: Vec<(ExecutionRecord, SandboxExecutionRequest)>,
}

/// For how long, and how much, is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Ended longer ago than this: removed.
    pub max_age: Duration,
    /// Bytes of all results, events and files together; the oldest go first.
    pub max_bytes: u64,
}

/// Records of executions, that outlive the server.
///
/// Everything is told by its owner: what belongs to somebody else is not there.
#[async_trait::async_trait]
pub trait ExecutionStore: Send + Sync + std::fmt::Debug {
    /// Records an execution that waits. When this returns, it survives a crash.
    ///
    /// # Errors
    /// The store failed, and nothing is recorded.
    async fn enqueue(&self, execution: &NewExecution) -> Result<Recorded, StoreError>;

    /// Records that one that waits here has its turn. `false` when it is not this server's any more, or has ended: it
    /// must not be run then.
    ///
    /// # Errors
    /// The store failed.
    async fn start(&self, id: ExecutionId, at: jiff::Timestamp) -> Result<bool, StoreError>;

    /// Records the end of one, whether it was recorded before or not. `false` when it has ended already, or is not this
    /// server's any more: that end stands, and this one is forgotten.
    ///
    /// # Errors
    /// The store failed.
    async fn finish(&self, execution: &FinishedExecution) -> Result<bool, StoreError>;

    /// One execution.
    ///
    /// # Errors
    /// The store failed.
    async fn record(&self, owner: &str, id: ExecutionId) -> Result<Option<ExecutionRecord>, StoreError>;

    /// What came of one; nothing before it has ended.
    ///
    /// # Errors
    /// The store failed.
    async fn result(&self, owner: &str, id: ExecutionId) -> Result<Option<SandboxExecutionResult>, StoreError>;

    /// What happened to one that has ended, without the result itself.
    ///
    /// # Errors
    /// The store failed.
    async fn events(&self, owner: &str, id: ExecutionId) -> Result<Option<Vec<ExecutionEvent>>, StoreError>;

    /// A file of one that has ended.
    ///
    /// # Errors
    /// The store failed.
    async fn file(&self, owner: &str, id: ExecutionId, path: &str) -> Result<Option<CollectedFile>, StoreError>;

    /// Executions, the newest first.
    ///
    /// # Errors
    /// The store failed.
    async fn list(&self, query: &ExecutionQuery) -> Result<Vec<ExecutionRecord>, StoreError>;

    /// Asks whichever server has it to cancel one. `false` when there is none, or it has ended.
    ///
    /// # Errors
    /// The store failed.
    async fn request_cancel(&self, owner: &str, id: ExecutionId) -> Result<bool, StoreError>;

    /// Those of this server that somebody has asked to cancel. Only a store that servers share has any.
    ///
    /// # Errors
    /// The store failed.
    async fn cancel_requests(&self) -> Result<Vec<ExecutionId>, StoreError>;

    /// Takes over what dead servers had.
    ///
    /// # Errors
    /// The store failed.
    async fn inherit(&self) -> Result<Inheritance, StoreError>;

    /// Lets go of what waits here, so that another server, or this one when it starts again, takes it over. Nothing
    /// that waits is started after this.
    ///
    /// # Errors
    /// The store failed.
    async fn release(&self) -> Result<(), StoreError>;

    /// Removes what is old, and what is too much. How many executions were removed.
    ///
    /// # Errors
    /// The store failed.
    async fn prune(&self, retention: Retention) -> Result<u64, StoreError>;
}

/// A key, as it is kept: never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredKey {
    /// Its public name, and the owner of its executions: `k_` and random letters.
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// Hex SHA-256 of the secret. That is enough: it has 256 random bits.
    pub digest: String,
    /// What it may.
    pub allowance: Allowance,
    /// When it was made.
    pub created_at: jiff::Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<jiff::Timestamp>,
}

/// Keys, that outlive the server.
#[async_trait::async_trait]
pub trait KeyStore: Send + Sync + std::fmt::Debug {
    /// Keeps a new key.
    ///
    /// # Errors
    /// The store failed.
    async fn add_key(&self, key: &StoredKey) -> Result<(), StoreError>;

    /// The key whose secret has this digest, revoked or not.
    ///
    /// # Errors
    /// The store failed.
    async fn key(&self, digest: &str) -> Result<Option<StoredKey>, StoreError>;

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// The store failed.
    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError>;

    /// Revokes a key by its public name. `false` when there is none, or it was revoked already.
    ///
    /// # Errors
    /// The store failed.
    async fn revoke_key(&self, id: &str, at: jiff::Timestamp) -> Result<bool, StoreError>;
}
