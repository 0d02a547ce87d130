//! Executions: the contract's methods, each in the file of its kind.

mod columns;
mod end;
mod inheritance;
mod prune;
mod queue;
mod read;

use aevatar_sandbox_contract::{
    CollectedFile, ExecutionEvent, ExecutionId, ExecutionQuery, ExecutionRecord, ExecutionStore, FinishedExecution,
    Inheritance, NewExecution, Recorded, Retention, SandboxExecutionResult, StoreError,
};

pub(crate) use columns::{microseconds, timestamp};

use crate::Store;

#[async_trait::async_trait]
impl ExecutionStore for Store {
    async fn enqueue(&self, execution: &NewExecution) -> Result<Recorded, StoreError> {
        queue::enqueue(self, execution)
            .await
            .map_err(|source| StoreError::new("record an execution that waits", source))
    }

    async fn start(&self, id: ExecutionId, at: jiff::Timestamp) -> Result<bool, StoreError> {
        queue::start(self, id, at).await.map_err(|source| StoreError::new("record the start of an execution", source))
    }

    async fn finish(&self, execution: &FinishedExecution) -> Result<bool, StoreError> {
        end::finish(self, execution).await.map_err(|source| StoreError::new("record the end of an execution", source))
    }

    async fn record(&self, owner: &str, id: ExecutionId) -> Result<Option<ExecutionRecord>, StoreError> {
        read::record(self, owner, id).await.map_err(|source| StoreError::new("look up an execution", source))
    }

    async fn result(&self, owner: &str, id: ExecutionId) -> Result<Option<SandboxExecutionResult>, StoreError> {
        read::result(self, owner, id).await.map_err(|source| StoreError::new("read the result of an execution", source))
    }

    async fn events(&self, owner: &str, id: ExecutionId) -> Result<Option<Vec<ExecutionEvent>>, StoreError> {
        read::events(self, owner, id).await.map_err(|source| StoreError::new("read the events of an execution", source))
    }

    async fn file(&self, owner: &str, id: ExecutionId, path: &str) -> Result<Option<CollectedFile>, StoreError> {
        read::file(self, owner, id, path).await.map_err(|source| StoreError::new("read a file of an execution", source))
    }

    async fn list(&self, query: &ExecutionQuery) -> Result<Vec<ExecutionRecord>, StoreError> {
        read::list(self, query).await.map_err(|source| StoreError::new("list executions", source))
    }

    async fn request_cancel(&self, owner: &str, id: ExecutionId) -> Result<bool, StoreError> {
        queue::request_cancel(self, owner, id)
            .await
            .map_err(|source| StoreError::new("record that an execution is to be cancelled", source))
    }

    async fn cancel_requests(&self) -> Result<Vec<ExecutionId>, StoreError> {
        queue::cancel_requests(self)
            .await
            .map_err(|source| StoreError::new("look for executions that are to be cancelled", source))
    }

    async fn inherit(&self) -> Result<Inheritance, StoreError> {
        inheritance::inherit(self)
            .await
            .map_err(|source| StoreError::new("take over executions of dead servers", source))
    }

    async fn release(&self) -> Result<(), StoreError> {
        queue::release(self).await.map_err(|source| StoreError::new("let go of executions that wait", source))
    }

    async fn prune(&self, retention: Retention) -> Result<u64, StoreError> {
        prune::prune(self, retention).await.map_err(|source| StoreError::new("remove old executions", source))
    }
}
