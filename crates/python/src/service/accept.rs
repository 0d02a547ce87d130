//! Taking a request in: its limits, its place in the queue, what is to be seen of it without running it, its record.

use std::sync::Arc;

use aevatar_sandbox_contract::{
    Caller, ErrorCode, ExecutionId, ExecutionPlan, LimitMaxima, NewExecution, OutputFiles, Recorded, ResourceLimits,
    SandboxError, SandboxExecutionRequest, StoreError, ValidationReport, ZygoteMode,
};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Live, PythonSandboxService, Registration};
use crate::{feed::Feed, files, limits, queue::Ticket, validator::ImportRules};

/// Bytes of events beside the output that are kept of one execution.
const EVENT_BYTES: usize = 256 << 10;

/// When an execution was asked for, on the wall and for measuring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: jiff::Timestamp,
    pub(super) instant: Instant,
}

impl Asked {
    pub(super) fn now() -> Self {
        Self { at: aevatar_sandbox_contract::now(), instant: Instant::now() }
    }
}

/// What becomes of the record of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recording {
    /// It is not recorded: nobody but the service itself asked for it.
    Never,
    /// It is recorded when it has ended: nobody knows its id before.
    AtEnd,
    /// It is recorded before it waits, under the caller's own name for it if there is one.
    Before(Option<String>),
    /// It is recorded.
    Already,
}

/// A request that has its place in the queue.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) id: ExecutionId,
    pub(super) request: SandboxExecutionRequest,
    pub(super) limits: ResourceLimits,
    pub(super) ticket: Ticket,
    pub(super) asked: Asked,
    pub(super) recording: Recording,
}

/// A request that was taken in.
#[derive(Debug)]
pub(super) enum Accepted {
    /// It is to be run.
    New(Box<Admitted>),
    /// The same was asked for before.
    Known(ExecutionId),
}

/// An execution that waits for its turn.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) live: Arc<Live>,
    pub(super) registration: Registration,
    pub(super) ticket: Ticket,
    pub(super) plan: Arc<ExecutionPlan>,
    pub(super) stdin: Vec<u8>,
    pub(super) output_files: OutputFiles,
    pub(super) report: ValidationReport,
    pub(super) asked: Asked,
    pub(super) digest: String,
    /// Never [`Recording::Before`]: that has been done.
    pub(super) recording: Recording,
}

impl PythonSandboxService {
    /// Takes `request` in.
    ///
    /// # Errors
    /// It makes no sense, the program breaks a rule, too many wait, the Python environment cannot be prepared, or the
    /// store failed.
    pub(super) async fn accept(
        &self,
        caller: &Caller,
        request: SandboxExecutionRequest,
        recording: Recording,
        cancelled: &CancellationToken,
    ) -> Result<Accepted, SandboxError> {
        let asked = Asked::now();
        let mut request = request;
        let maxima = lesser(self.options.maxima.as_ref(), caller.allowance.maxima.as_ref());
        let limits = limits::resolve(&request, &self.options.default_limits, maxima.as_ref())?;
        request.files = files::check(request.files, &limits)?;
        self.validator.check_size(&request.code)?;
        self.rates.count(caller, asked.instant)?;
        // Before the program is read, so that who is refused costs nothing.
        let ticket = self.queue.enter(caller, weight(&request))?;
        let queued = Queued { id: ExecutionId::generate(), request, limits, ticket, asked, recording };
        self.admit(caller, queued, cancelled).await
    }

    /// The same for a request that has its place.
    pub(super) async fn admit(
        &self,
        caller: &Caller,
        queued: Queued,
        cancelled: &CancellationToken,
    ) -> Result<Accepted, SandboxError> {
        let Queued { id, request, limits, ticket, asked, recording } = queued;
        let environment = self.while_wanted(cancelled, self.prepare(request.environment.clone())).await?;
        let import_policy = self.import_rules(caller).policy(&environment);
        let rules = files::with_own_modules(import_policy.clone(), &request.files);
        let reading = self.read(&self.readers, &request.code, &environment, rules);
        let report = self.while_wanted(cancelled, reading.instrument(tracing::info_span!("validate"))).await?;
        if report.syntax_error.is_none() {
            check(&report)?;
        }
        let digest = digest(&request)?;
        let capacity = usize::try_from(limits.max_output_bytes).unwrap_or(usize::MAX).saturating_mul(2);
        let live = Arc::new(Live {
            id,
            owner: caller.owner.clone(),
            feed: Arc::new(Feed::new(id, asked.at, asked.instant, capacity.saturating_add(EVENT_BYTES))),
            cancelled: cancelled.clone(),
            ticket: ticket.number(),
        });
        // It must be known here before anybody can ask for it.
        let registration = self.live.insert(Arc::clone(&live));
        let recording = match recording {
            Recording::Before(idempotency_key) => {
                let new = NewExecution {
                    id,
                    owner: caller.owner.clone(),
                    request_digest: digest.clone(),
                    idempotency_key,
                    queued_at: asked.at,
                    request: request.clone(),
                    allowance: caller.allowance.clone(),
                };
                match self.store.enqueue(&new).await.map_err(store_failed)? {
                    Recorded::New => {}
                    Recorded::Same(known) => return Ok(Accepted::Known(known)),
                    Recorded::Conflict(known) => return Err(conflict(known)),
                }
                Recording::Already
            }
            other => other,
        };
        let disk_limit_is_default = request.resources.disk_limit.is_none();
        let plan = Arc::new(ExecutionPlan {
            id,
            code: request.code,
            args: request.args,
            env: request.env,
            disk_limit_is_default,
            limits,
            environment,
            import_policy,
            imports: report.imports.iter().map(|import| import.module.clone()).collect(),
            zygote: zygote_mode(self.options.zygote, request.isolation.zygote),
            files: request.files,
            output_files: files::limits_of(request.output_files, self.options.file_limits),
        });
        let (stdin, output_files) = (request.stdin, request.output_files);
        Ok(Accepted::New(Box::new(Admitted {
            live,
            registration,
            ticket,
            plan,
            stdin,
            output_files,
            report,
            asked,
            digest,
            recording,
        })))
    }

    /// `work`, unless it is cancelled or the service stops meanwhile.
    async fn while_wanted<T>(
        &self,
        cancelled: &CancellationToken,
        work: impl Future<Output = Result<T, SandboxError>>,
    ) -> Result<T, SandboxError> {
        tokio::select! {
            done = work => done,
            () = cancelled.cancelled() => Err(broken_off(ErrorCode::Cancelled, "cancelled")),
            () = self.draining.cancelled() => Err(broken_off(ErrorCode::Interrupted, "the service stopped")),
        }
    }

    /// The service's, or the caller's own.
    fn import_rules(&self, caller: &Caller) -> ImportRules {
        let mut rules = self.options.imports.clone();
        if let Some(modules) = &caller.allowance.allowed_modules {
            rules.allowed = Some(modules.clone());
        }
        rules
    }
}

/// What a request takes while it waits, in bytes.
pub(super) fn weight(request: &SandboxExecutionRequest) -> usize {
    let text = |text: &String| text.len();
    request.code.len()
        + request.stdin.len()
        + request.args.iter().map(text).sum::<usize>()
        + request.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        + request.files.iter().map(|file| file.path.len() + file.content.len()).sum::<usize>()
}

/// Hex SHA-256 of a request: the same for the same request.
fn digest(request: &SandboxExecutionRequest) -> Result<String, SandboxError> {
    let text = serde_json::to_vec(request).map_err(|error| {
        SandboxError::new(ErrorCode::SandboxFailure, "the request could not be written down").with_source(error)
    })?;
    Ok(format!("{:x}", Sha256::digest(text)))
}

/// Of each limit the lesser one.
fn lesser(service: Option<&LimitMaxima>, caller: Option<&LimitMaxima>) -> Option<LimitMaxima> {
    match (service, caller) {
        (Some(service), Some(caller)) => Some(LimitMaxima {
            cpu_limit: service.cpu_limit.min(caller.cpu_limit),
            memory_limit: service.memory_limit.min(caller.memory_limit),
            disk_limit: service.disk_limit.min(caller.disk_limit),
            process_limit: service.process_limit.min(caller.process_limit),
            timeout: service.timeout.min(caller.timeout),
        }),
        (one, other) => one.or(other).cloned(),
    }
}

fn conflict(id: ExecutionId) -> SandboxError {
    SandboxError::new(
        ErrorCode::IdempotencyConflict,
        format!("this idempotency key belongs to another request, which is execution {id}"),
    )
    .with_hint("use a new key for a new request; the same key is for the same request sent once more")
}

pub(super) fn store_failed(error: StoreError) -> SandboxError {
    SandboxError::new(ErrorCode::StoreUnavailable, error.to_string())
        .with_hint("look at the server's log: the disk may be full, or the database cannot be reached")
        .with_source(error)
}

/// Off where anybody says so: it is what isolates more.
const fn zygote_mode(service: ZygoteMode, request: Option<ZygoteMode>) -> ZygoteMode {
    match (service, request) {
        (ZygoteMode::On, None | Some(ZygoteMode::On)) => ZygoteMode::On,
        _ => ZygoteMode::Off,
    }
}

/// # Errors
/// The program may not run.
pub(super) fn check(report: &ValidationReport) -> Result<(), SandboxError> {
    let Some(first) = report.violations.first() else { return Ok(()) };
    let others = match report.violations.len() - 1 {
        0 => String::new(),
        1 => ", and one more".to_owned(),
        more => format!(", and {more} more"),
    };
    let message = format!("line {}: {}{others}", first.line, first.message);
    let mut error = SandboxError::new(ErrorCode::CodeRejected, message).with_hint(first.hint.clone());
    error.violations.clone_from(&report.violations);
    Err(error)
}

/// An execution that ended before it began: there is no result of it.
pub(super) fn broken_off(code: ErrorCode, why: &str) -> SandboxError {
    SandboxError::new(code, format!("{why} before the program was started")).with_hint("nothing was run")
}

#[cfg(test)]
mod tests {
    use ZygoteMode::{Off, On};

    use super::*;

    #[test]
    fn a_cold_start_is_what_either_side_can_have() {
        for (service, request, mode) in [
            (On, None, On),
            (On, Some(On), On),
            (On, Some(Off), Off),
            (Off, None, Off),
            (Off, Some(Off), Off),
            (Off, Some(On), Off),
        ] {
            assert_eq!(zygote_mode(service, request), mode, "{service:?} {request:?}");
        }
    }
}
