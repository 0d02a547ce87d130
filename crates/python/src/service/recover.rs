//! Going on with what another server left, and keeping the records in bounds.

use std::time::Duration;

use aevatar_sandbox_contract::{
    Caller, ErrorCode, ExecutionRecord, FinishedExecution, NewExecution, Retention, SandboxError,
    SandboxExecutionRequest, SandboxExecutionResult,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    EndedExecution, PythonSandboxService,
    accept::{Accepted, Asked, Queued, Recording, broken_off, store_failed, weight},
    run::never_ran,
};
use crate::{limits, queue::Ticket};

/// How often it is looked whether somebody wants an execution of this server cancelled.
const CANCEL_PAUSE: Duration = Duration::from_millis(250);
/// How often it is looked whether a server has died.
const INHERIT_PAUSE: Duration = Duration::from_secs(3);
/// How often old records are removed: four times in the time that they are kept, within these bounds.
const LEAST_PRUNE_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PRUNE_PAUSE: Duration = Duration::from_secs(30);

impl PythonSandboxService {
    /// Takes over what dead servers left: what waited there runs here, what ran there ends as interrupted. Returns how
    /// many there were of each.
    ///
    /// # Errors
    /// The store failed.
    pub async fn recover(&self) -> Result<(usize, usize), SandboxError> {
        let inheritance = self.store.inherit().await.map_err(store_failed)?;
        let counts = (inheritance.queued.len(), inheritance.running.len());
        for (record, request) in inheritance.running {
            // A store that lost its database for a while may have taken this server for dead.
            if self.live.lock().contains_key(&record.id) {
                continue;
            }
            let error = broken_off_while_running();
            self.end_unrun(&record, request, &error).await;
        }
        for execution in inheritance.queued {
            if self.live.lock().contains_key(&execution.id) {
                continue;
            }
            let service = self.clone();
            // Each takes its place in the queue in this order; reading programs takes time.
            let caller = Caller { owner: execution.owner.clone(), allowance: execution.allowance.clone() };
            let ticket = self.queue.take(&caller, weight(&execution.request));
            drop(tokio::spawn(async move { service.run_inherited(caller, execution, ticket).await }));
        }
        Ok(counts)
    }

    async fn run_inherited(&self, caller: Caller, execution: NewExecution, ticket: Ticket) {
        let NewExecution { id, queued_at, request, request_digest, .. } = execution;
        // The time in the queue begins anew: the old one may have been long ago.
        let asked = Asked { at: queued_at, instant: Instant::now() };
        let cancelled = CancellationToken::new();
        let record = ExecutionRecord::waiting(id, caller.owner.clone(), request_digest, queued_at);
        let admitted = match limits::resolve(&request, &self.options.default_limits, self.options.maxima.as_ref()) {
            Ok(limits) => {
                let (request, recording) = (request.clone(), Recording::Already);
                self.admit(&caller, Queued { id, request, limits, ticket, asked, recording }, &cancelled).await
            }
            Err(error) => Err(error),
        };
        match admitted {
            Ok(Accepted::New(admitted)) => self.run_behind(*admitted),
            Ok(Accepted::Known(_)) => {}
            // It waits for the next server.
            Err(error) if error.code == ErrorCode::Interrupted => {}
            Err(error) => self.end_unrun(&record, request, &error).await,
        }
    }

    /// Records the end of an execution that is not run here.
    async fn end_unrun(&self, record: &ExecutionRecord, request: SandboxExecutionRequest, error: &SandboxError) {
        let result = self.unrun(record, &request, error);
        self.tell_ended(&EndedExecution {
            owner: &record.owner,
            request_digest: &record.request_digest,
            queue_wait: None,
            code: self.options.keep_code.then_some(request.code.as_slice()),
            result: &result,
        });
        self.record_end(&FinishedExecution {
            owner: record.owner.clone(),
            request_digest: record.request_digest.clone(),
            result,
            events: Vec::new(),
            files: Vec::new(),
            request: self.options.keep_code.then_some(request),
        })
        .await;
    }

    fn unrun(
        &self,
        record: &ExecutionRecord,
        request: &SandboxExecutionRequest,
        error: &SandboxError,
    ) -> SandboxExecutionResult {
        let limits = limits::resolve(request, &self.options.default_limits, None)
            .unwrap_or_else(|_| self.options.default_limits.clone());
        let environment = request.environment.clone().unwrap_or_else(|| "default".to_owned());
        let mut result = never_ran(record.id, limits, environment, record.queued_at, error);
        result.started_at = record.started_at;
        result
    }

    /// Does what is to be done from time to time, until the service stops: cancels what others want cancelled, takes over
    /// what dead servers left, and removes old records.
    pub async fn keep_up(&self, retention: Retention) {
        let prune_pause = (retention.max_age / 4).clamp(LEAST_PRUNE_PAUSE, LONGEST_PRUNE_PAUSE);
        let mut inherited = Instant::now();
        let mut pruned: Option<Instant> = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(CANCEL_PAUSE) => {}
                () = self.draining.cancelled() => return,
            }
            match self.store.cancel_requests().await {
                Ok(ids) => {
                    let all = self.live.lock();
                    for live in ids.iter().filter_map(|id| all.get(id)) {
                        live.cancelled.cancel();
                    }
                }
                Err(error) => self.warn_store_failed(&error),
            }
            if inherited.elapsed() >= INHERIT_PAUSE {
                match self.recover().await {
                    Ok((0, 0)) => {}
                    Ok((queued, running)) => tracing::info!(queued, running, "took over what another server left"),
                    Err(error) => self.warn_store_failed(&error),
                }
                inherited = Instant::now();
            }
            if pruned.is_none_or(|at| at.elapsed() >= prune_pause) {
                match self.store.prune(retention).await {
                    Ok(0) => {}
                    Ok(removed) => tracing::debug!(removed, "removed old records"),
                    Err(error) => self.warn_store_failed(&error),
                }
                pruned = Some(Instant::now());
            }
        }
    }

    fn warn_store_failed(&self, error: &dyn std::error::Error) {
        tracing::warn!("{error}");
        self.tell_store_failed();
    }
}

fn broken_off_while_running() -> SandboxError {
    let mut error = broken_off(ErrorCode::Interrupted, "interrupted");
    "the server ended while the program ran".clone_into(&mut error.message);
    error.with_hint("whatever it did is lost with its sandbox; ask for it again")
}
