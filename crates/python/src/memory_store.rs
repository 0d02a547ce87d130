//! Records of executions that live as long as the process: what a library or a command has.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aevatar_sandbox_contract::{
    CollectedFile, ExecutionEvent, ExecutionId, ExecutionQuery, ExecutionRecord, ExecutionStatus, ExecutionStore,
    FinishedExecution, Inheritance, NewExecution, Recorded, Retention, SandboxExecutionResult, StoreError,
};

/// Executions that have ended and are kept, at most; the oldest go first.
const KEPT: usize = 1000;
/// Bytes of them all.
const KEPT_BYTES: u64 = 64 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    records: Mutex<BTreeMap<ExecutionId, Kept>>,
}

#[derive(Debug)]
struct Kept {
    record: ExecutionRecord,
    idempotency_key: Option<String>,
    finished: Option<FinishedExecution>,
    bytes: u64,
}

impl MemoryStore {
    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ExecutionId, Kept>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T>(&self, owner: &str, id: ExecutionId, look: impl FnOnce(&Kept) -> Option<T>) -> Option<T> {
        self.lock().get(&id).filter(|kept| kept.record.owner == owner).and_then(look)
    }
}

/// What an execution that has ended takes, roughly.
fn size(execution: &FinishedExecution) -> u64 {
    let result = &execution.result;
    let events = execution.events.len() * 256;
    let files: usize = execution.files.iter().map(|file| file.content.len()).sum();
    // What is in events is what is in the streams, once more.
    (4096 + 2 * (result.stdout.len() + result.stderr.len()) + events + files) as u64
}

fn shrink(records: &mut BTreeMap<ExecutionId, Kept>, max_bytes: u64, most: usize) -> u64 {
    let mut bytes: u64 = records.values().map(|kept| kept.bytes).sum();
    let mut count = records.len();
    let mut removed = 0;
    let ended: Vec<ExecutionId> =
        records.iter().filter(|(_, kept)| kept.finished.is_some()).map(|(id, _)| *id).collect();
    for id in ended {
        if bytes <= max_bytes && count <= most {
            break;
        }
        if let Some(kept) = records.remove(&id) {
            bytes = bytes.saturating_sub(kept.bytes);
            count -= 1;
            removed += 1;
        }
    }
    removed
}

#[async_trait::async_trait]
impl ExecutionStore for MemoryStore {
    async fn enqueue(&self, execution: &NewExecution) -> Result<Recorded, StoreError> {
        let mut records = self.lock();
        if let Some(key) = &execution.idempotency_key {
            let known = records
                .values()
                .find(|kept| kept.record.owner == execution.owner && kept.idempotency_key.as_ref() == Some(key));
            if let Some(Kept { record, .. }) = known {
                return Ok(if record.request_digest == execution.request_digest {
                    Recorded::Same(record.id)
                } else {
                    Recorded::Conflict(record.id)
                });
            }
        }
        let (owner, digest) = (execution.owner.clone(), execution.request_digest.clone());
        let record = ExecutionRecord::waiting(execution.id, owner, digest, execution.queued_at);
        let idempotency_key = execution.idempotency_key.clone();
        records.insert(execution.id, Kept { record, idempotency_key, finished: None, bytes: 0 });
        Ok(Recorded::New)
    }

    async fn start(&self, id: ExecutionId, at: jiff::Timestamp) -> Result<bool, StoreError> {
        let mut records = self.lock();
        let Some(kept) = records.get_mut(&id) else { return Ok(false) };
        let waits = kept.record.status == ExecutionStatus::Pending;
        if waits {
            kept.record.status = ExecutionStatus::Running;
            kept.record.started_at = Some(at);
        }
        Ok(waits)
    }

    async fn finish(&self, execution: &FinishedExecution) -> Result<bool, StoreError> {
        let result = &execution.result;
        let mut records = self.lock();
        let kept = records.entry(result.execution_id).or_insert_with(|| Kept {
            record: ExecutionRecord::waiting(
                result.execution_id,
                execution.owner.clone(),
                execution.request_digest.clone(),
                result.queued_at,
            ),
            idempotency_key: None,
            finished: None,
            bytes: 0,
        });
        if kept.finished.is_some() {
            return Ok(false);
        }
        kept.record.status = result.status;
        kept.record.reason = Some(result.termination.reason);
        kept.record.started_at = result.started_at;
        kept.record.finished_at = Some(result.finished_at);
        kept.bytes = size(execution);
        kept.finished = Some(execution.clone());
        shrink(&mut records, KEPT_BYTES, KEPT);
        Ok(true)
    }

    async fn record(&self, owner: &str, id: ExecutionId) -> Result<Option<ExecutionRecord>, StoreError> {
        Ok(self.look(owner, id, |kept| Some(kept.record.clone())))
    }

    async fn result(&self, owner: &str, id: ExecutionId) -> Result<Option<SandboxExecutionResult>, StoreError> {
        Ok(self.look(owner, id, |kept| kept.finished.as_ref().map(|finished| finished.result.clone())))
    }

    async fn events(&self, owner: &str, id: ExecutionId) -> Result<Option<Vec<ExecutionEvent>>, StoreError> {
        Ok(self.look(owner, id, |kept| kept.finished.as_ref().map(|finished| finished.events.clone())))
    }

    async fn file(&self, owner: &str, id: ExecutionId, path: &str) -> Result<Option<CollectedFile>, StoreError> {
        Ok(self
            .look(owner, id, |kept| kept.finished.as_ref()?.files.iter().find(|file| file.file.path == path).cloned()))
    }

    async fn list(&self, query: &ExecutionQuery) -> Result<Vec<ExecutionRecord>, StoreError> {
        let records = self.lock();
        let wanted = records.values().rev().map(|kept| &kept.record).filter(|record| {
            record.owner == query.owner
                && query.before.is_none_or(|before| record.id < before)
                && query.status.is_none_or(|status| record.status == status)
        });
        Ok(wanted.take(query.limit as usize).cloned().collect())
    }

    async fn request_cancel(&self, _owner: &str, _id: ExecutionId) -> Result<bool, StoreError> {
        // Whatever has not ended is known to this process anyway.
        Ok(false)
    }

    async fn cancel_requests(&self) -> Result<Vec<ExecutionId>, StoreError> {
        Ok(Vec::new())
    }

    async fn inherit(&self) -> Result<Inheritance, StoreError> {
        Ok(Inheritance::default())
    }

    async fn release(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn prune(&self, retention: Retention) -> Result<u64, StoreError> {
        let mut records = self.lock();
        let before = records.len();
        let now = aevatar_sandbox_contract::now();
        records.retain(|_, kept| {
            kept.record.finished_at.is_none_or(|at| {
                std::time::Duration::try_from(now.duration_since(at)).unwrap_or_default() <= retention.max_age
            })
        });
        let old = (before - records.len()) as u64;
        Ok(old + shrink(&mut records, retention.max_bytes, KEPT))
    }
}
