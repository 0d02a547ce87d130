//! An execution that was taken in, from its turn to its end.

use std::{sync::Arc, time::Duration};

use aevatar_sandbox_contract::{
    CodeFinding, ErrorCode, ExecutionId, ExecutionPlan, ExecutionStatus, FinishedExecution, OutputFiles, PythonError,
    ResourceLimits, RunningSandbox, SandboxError, SandboxExecutionRequest, SandboxExecutionResult, Termination,
    TerminationReason, ValidationReport, now,
};
use tokio::io::AsyncWriteExt as _;
use tracing::Instrument as _;

use super::{
    EndedExecution, PythonSandboxService,
    accept::{Admitted, Asked, Recording, broken_off, store_failed},
};
use crate::{
    files, hints,
    monitor::{ExecutionStreams, PythonExecutionMonitor, Watched},
    queue::Ticket,
};

/// Pauses between tries to record an end.
const STORE_PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];

/// How an execution came to no result.
enum NoResult {
    /// What is told to who waits for it.
    Error(SandboxError),
    /// It is another server's, or nobody's yet: nothing is to be recorded.
    Released,
}

impl From<SandboxError> for NoResult {
    fn from(error: SandboxError) -> Self {
        Self::Error(error)
    }
}

impl PythonSandboxService {
    /// Runs what was taken in, records its end and tells it.
    pub(super) async fn run(&self, admitted: Admitted, streams: ExecutionStreams) -> Result<Watched, SandboxError> {
        let Admitted { live, registration, ticket, plan, stdin, output_files, report, asked, digest, recording } =
            admitted;
        let is_recorded = recording == Recording::Already;
        let mut turn = Turn { service: self, live: &live, asked, is_recorded, queue_wait: None };
        let outcome = turn.take(ticket, &plan, stdin, report, streams).await;
        let queue_wait = turn.queue_wait;
        let ended = |result: &SandboxExecutionResult| {
            let code = self.options.keep_code.then_some(plan.code.as_slice());
            self.tell_ended(&EndedExecution { owner: &live.owner, request_digest: &digest, queue_wait, code, result });
        };
        let (outcome, error) = match outcome {
            Ok(mut watched) => {
                files::put_inline(&mut watched.result, &watched.files, output_files, self.options.file_limits);
                (Some(watched), None)
            }
            Err(NoResult::Released) => {
                return Err(broken_off(ErrorCode::Interrupted, "the service stopped"));
            }
            // Whoever is not to be told by a record knows nothing of it. But anybody may see its id in a list, and cancel it.
            Err(NoResult::Error(error)) if recording == Recording::AtEnd && error.code == ErrorCode::Cancelled => {
                (Some(Watched { result: not_started(&plan, &error, asked), files: Vec::new() }), None)
            }
            Err(NoResult::Error(error)) if is_recorded => {
                let result = not_started(&plan, &error, asked);
                (Some(Watched { result, files: Vec::new() }), Some(error))
            }
            Err(NoResult::Error(error)) => {
                // Nobody can ask for it, but it was let in, and may have been started.
                if recording != Recording::Never {
                    ended(&not_started(&plan, &error, asked));
                }
                (None, Some(error))
            }
        };
        let outcome = match outcome {
            Some(Watched { result, files }) if recording != Recording::Never => {
                let finished = FinishedExecution {
                    owner: live.owner.clone(),
                    request_digest: digest.clone(),
                    result,
                    // What nobody followed can be made up from the result.
                    events: if is_recorded { live.feed.history() } else { Vec::new() },
                    files,
                    request: self.options.keep_code.then(|| request_of(&plan)),
                };
                self.record_end(&finished).instrument(tracing::info_span!("record")).await;
                let FinishedExecution { result, files, .. } = finished;
                ended(&result);
                live.feed.finish(&result);
                Some(Watched { result, files })
            }
            other => other,
        };
        drop(registration);
        match (outcome, error) {
            (_, Some(error)) => Err(error),
            (Some(watched), None) => Ok(watched),
            // One of them is there.
            (None, None) => Err(broken_off(ErrorCode::SandboxFailure, "lost")),
        }
    }

    /// The same, with nobody waiting.
    pub(super) fn run_behind(&self, admitted: Admitted) {
        let (service, id) = (self.clone(), admitted.live.id);
        // Of the same trace as the request that started it.
        let span = tracing::info_span!("execution", execution.id = %id);
        let running = async move {
            // It is in the record.
            if let Err(error) = service.run(admitted, ExecutionStreams::default()).await {
                tracing::debug!(%id, "{error}");
            }
        };
        drop(tokio::spawn(running.instrument(span)));
    }

    /// Records an end. Where the store fails, it is tried again behind, for a while: the result is not held back.
    pub(super) async fn record_end(&self, finished: &FinishedExecution) {
        let Err(error) = self.store.finish(finished).await else { return };
        tracing::error!(id = %finished.result.execution_id, "{error}: trying again");
        self.tell_store_failed();
        let (store, finished) = (Arc::clone(&self.store), finished.clone());
        drop(tokio::spawn(async move {
            for pause in STORE_PAUSES {
                tokio::time::sleep(pause).await;
                if store.finish(&finished).await.is_ok() {
                    return;
                }
            }
            tracing::error!(id = %finished.result.execution_id, "the end of an execution could not be recorded");
        }));
    }
}

/// The turn of one execution.
struct Turn<'a> {
    service: &'a PythonSandboxService,
    live: &'a super::Live,
    asked: Asked,
    is_recorded: bool,
    /// From the request to its turn, once it has come.
    queue_wait: Option<Duration>,
}

impl Turn<'_> {
    async fn take(
        &mut self,
        mut ticket: Ticket,
        plan: &Arc<ExecutionPlan>,
        stdin: Vec<u8>,
        report: ValidationReport,
        streams: ExecutionStreams,
    ) -> Result<Watched, NoResult> {
        let (service, live) = (self.service, self.live);
        let permit = tokio::select! {
            // A turn that has come is taken, also where the deadline has.
            biased;
            permit = ticket.turn().instrument(tracing::info_span!("queue")) => permit,
            () = live.cancelled.cancelled() => return Err(broken_off(ErrorCode::Cancelled, "cancelled").into()),
            () = service.draining.cancelled() => return Err(self.released()),
            () = tokio::time::sleep_until(self.asked.instant + service.options.queue_timeout) => {
                return Err(service.waited_too_long().into());
            }
        };
        self.queue_wait = Some(permit.given_at().saturating_duration_since(self.asked.instant));
        if self.is_recorded {
            let is_ours = service.store.start(live.id, now()).await.map_err(store_failed)?;
            if !is_ours {
                return Err(NoResult::Released);
            }
        }
        if report.syntax_error.is_some()
            && let Some(error) = service.confirm_syntax_error(plan, &report, &live.cancelled).await
        {
            let result = not_run(plan, error, report.warnings, self.asked, streams).await;
            return Ok(Watched { result, files: Vec::new() });
        }
        if report.syntax_error.is_some() {
            super::accept::check(&report)?;
        }
        let sandbox = self.launch(plan).instrument(tracing::info_span!("launch")).await?;
        let monitor = PythonExecutionMonitor::new(
            plan.limits.clone(),
            live.cancelled.clone(),
            service.stopping.clone(),
            self.asked.at,
            self.asked.instant,
        );
        let feed = Arc::clone(&live.feed);
        let running = monitor.with_feed(feed).watch(sandbox, plan, stdin, streams);
        let mut watched = running.instrument(tracing::info_span!("run")).await?;
        watched.result.hints = hints::hints(&watched.result, &report.imports);
        watched.result.warnings = report.warnings;
        Ok(watched)
    }

    /// Launches the sandbox. A cancellation does not wait for that: what is still made then is removed behind.
    async fn launch(&self, plan: &Arc<ExecutionPlan>) -> Result<Box<dyn RunningSandbox>, SandboxError> {
        let (backend, plan) = (Arc::clone(&self.service.backend), Arc::clone(plan));
        let mut launching = self.service.launches.spawn(async move { backend.launch(&plan).await });
        let broken = tokio::select! {
            launched = &mut launching => {
                return launched.map_err(|error| SandboxError::broken_off("the launch", error))?;
            }
            () = self.live.cancelled.cancelled() => broken_off(ErrorCode::Cancelled, "cancelled"),
            () = self.service.stopping.cancelled() => broken_off(ErrorCode::Interrupted, "the service stopped"),
        };
        // Dropping a sandbox ends and removes it.
        drop(self.service.launches.spawn(async move { drop(launching.await) }));
        Err(broken)
    }

    fn released(&self) -> NoResult {
        if self.is_recorded {
            NoResult::Released
        } else {
            NoResult::Error(broken_off(ErrorCode::Interrupted, "the service stopped"))
        }
    }
}

impl PythonSandboxService {
    fn waited_too_long(&self) -> SandboxError {
        let mut error = self.queue.busy();
        error.message = format!("its turn did not come within {} s", self.options.queue_timeout.as_secs_f64());
        error
    }
}

/// What was asked for, for a store that keeps programs.
fn request_of(plan: &ExecutionPlan) -> SandboxExecutionRequest {
    SandboxExecutionRequest {
        code: plan.code.clone(),
        args: plan.args.clone(),
        env: plan.env.clone(),
        timeout: Some(plan.limits.timeout),
        environment: Some(plan.environment.name.clone()),
        output_files: if plan.output_files.is_some() { OutputFiles::List } else { OutputFiles::None },
        ..Default::default()
    }
}

/// The result of an execution that was accepted and never ran.
fn not_started(plan: &ExecutionPlan, error: &SandboxError, asked: Asked) -> SandboxExecutionResult {
    never_ran(plan.id, plan.limits.clone(), plan.environment.to_string(), asked.at, error)
}

/// The same, of one without a plan.
pub(super) fn never_ran(
    id: ExecutionId,
    limits: ResourceLimits,
    environment: String,
    queued_at: jiff::Timestamp,
    error: &SandboxError,
) -> SandboxExecutionResult {
    let (status, reason) = match error.code {
        ErrorCode::Cancelled => (ExecutionStatus::Cancelled, TerminationReason::Cancelled),
        ErrorCode::Interrupted => (ExecutionStatus::Failed, TerminationReason::Interrupted),
        ErrorCode::Busy => (ExecutionStatus::Failed, TerminationReason::QueueTimeout),
        ErrorCode::SandboxFailure => (ExecutionStatus::Failed, TerminationReason::SandboxFailure),
        _ => (ExecutionStatus::Failed, TerminationReason::NotStarted),
    };
    let termination = Termination { reason, message: error.message.clone(), limit: None, peak: None };
    let mut result = SandboxExecutionResult::not_run(id, limits, environment, queued_at, (status, termination));
    result.hints.extend(error.hint.clone());
    result
}

/// The result of a program that CPython refuses: nothing was run.
async fn not_run(
    plan: &ExecutionPlan,
    error: PythonError,
    warnings: Vec<CodeFinding>,
    asked: Asked,
    streams: ExecutionStreams,
) -> SandboxExecutionResult {
    if let Some(mut stderr) = streams.stderr {
        // Whoever closed it does not want it.
        drop(stderr.write_all(error.traceback.as_bytes()).await);
        drop(stderr.flush().await);
    }
    let at = error.line.map_or_else(String::new, |line| format!(" in line {line}"));
    let message = format!("{}{at}: the program was not run", error.name);
    let termination = Termination { reason: TerminationReason::Exception, message, limit: None, peak: None };
    let ended = (ExecutionStatus::Failed, termination);
    let mut result =
        SandboxExecutionResult::not_run(plan.id, plan.limits.clone(), plan.environment.to_string(), asked.at, ended);
    result.exit_code = Some(1);
    result.stderr.clone_from(&error.traceback);
    result.error = Some(error);
    result.warnings = warnings;
    result
}
