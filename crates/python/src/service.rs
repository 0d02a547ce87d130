//! The service: one call from a request to a result.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aevatar_sandbox_contract::{
    CodeFinding, CollectedFile, DEFAULT_LIMITS, ErrorCode, ExecutionId, ExecutionPlan, ExecutionStatus, FileLimits,
    ImportPolicy, IsolationReport, LimitMaxima, ModuleImport, PythonEnvironment, PythonError, ResourceLimits,
    ResourceUsage, SandboxBackend, SandboxError, SandboxExecutionRequest, SandboxExecutionResult, Termination,
    TerminationReason, Truncated, ValidationReport, WarmReport, ZygoteMode,
};
use tokio::{io::AsyncWriteExt, sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission,
    compile_check::{self, Compiled},
    environment::{EnvironmentError, EnvironmentSelection, NoProgress, PrepareProgress, PythonEnvironmentManager},
    files, hints, limits,
    monitor::{ExecutionStreams, PythonExecutionMonitor},
    validator::{ImportRules, PythonCodeValidator, ValidatorOptions},
};

/// How a service works.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Limits of an execution that asks for none.
    pub default_limits: ResourceLimits,
    /// The most that a request may ask for; without it, what the host can give.
    pub maxima: Option<LimitMaxima>,
    /// Programs that may run at the same time; one more is refused as [`ErrorCode::Busy`].
    pub max_concurrent_executions: usize,
    /// What is checked before a program runs.
    pub validator: ValidatorOptions,
    /// Which imports are restricted.
    pub imports: ImportRules,
    /// The interpreter to make environments with; any CPython from 3.11 on is found when left out.
    pub python: Option<PathBuf>,
    /// Whether interpreters may be forked from warm ones; a request may say no for itself.
    pub zygote: ZygoteMode,
    /// How much is taken of the files that a program leaves, where a request wants them.
    pub file_limits: FileLimits,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            default_limits: DEFAULT_LIMITS,
            maxima: None,
            max_concurrent_executions: default_concurrency(),
            validator: ValidatorOptions::default(),
            imports: ImportRules::default(),
            python: None,
            zygote: ZygoteMode::On,
            file_limits: FileLimits::default(),
        }
    }
}

/// How many programs a service runs at the same time unless told otherwise: sixteen for each CPU. Most programs wait
/// or are short; the limits of each keep the others running.
pub fn default_concurrency() -> usize {
    cpus() * 16
}

/// For how long an environment that was ready is taken to be ready: looking at it takes a hundred system calls.
const READY_FOR: Duration = Duration::from_secs(1);

/// Programs that may be read at the same time without being run, for each CPU. Each takes milliseconds as a rule.
const VALIDATIONS_PER_CPU: usize = 8;

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs untrusted Python.
#[derive(Clone)]
pub struct PythonSandboxService {
    backend: Arc<dyn SandboxBackend>,
    environments: Arc<PythonEnvironmentManager>,
    /// Environments that were found ready a moment ago, by name.
    ready: Arc<Mutex<HashMap<String, (Instant, PythonEnvironment)>>>,
    progress: Arc<dyn PrepareProgress + Send + Sync>,
    validator: PythonCodeValidator,
    /// As many programs are read at the same time as there are CPUs; a hostile one takes tenths of a second.
    readers: Arc<Semaphore>,
    /// Programs that are only to be read do not stand in the way of those that are to run.
    validation_readers: Arc<Semaphore>,
    validations: Admission,
    admission: Admission,
    options: Arc<ServiceOptions>,
    stopping: CancellationToken,
}

impl std::fmt::Debug for PythonSandboxService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PythonSandboxService").field("options", &self.options).finish_non_exhaustive()
    }
}

impl PythonSandboxService {
    /// A service over `backend` with the environments of `environments`.
    pub fn new(
        backend: Arc<dyn SandboxBackend>,
        environments: PythonEnvironmentManager,
        options: ServiceOptions,
    ) -> Self {
        Self {
            backend,
            environments: Arc::new(environments),
            ready: Arc::default(),
            progress: Arc::new(NoProgress),
            validator: PythonCodeValidator::new(options.validator.clone()),
            readers: Arc::new(Semaphore::new(cpus())),
            validation_readers: Arc::new(Semaphore::new(cpus().div_ceil(2))),
            validations: Admission::new(cpus() * VALIDATIONS_PER_CPU),
            admission: Admission::new(options.max_concurrent_executions),
            options: Arc::new(options),
            stopping: CancellationToken::new(),
        }
    }

    /// The same, telling `progress` while it prepares an environment.
    #[must_use]
    pub fn with_progress(mut self, progress: impl PrepareProgress + Send + 'static) -> Self {
        self.progress = Arc::new(progress);
        self
    }

    /// How it works.
    pub fn options(&self) -> &ServiceOptions {
        &self.options
    }

    /// Runs a program to its end. A program that fails is a result, not an error.
    ///
    /// # Errors
    /// The request makes no sense, the program breaks a rule, as many programs run as may, the host cannot give what is
    /// asked for, the Python environment cannot be prepared, or the sandbox itself failed.
    pub async fn execute(&self, request: SandboxExecutionRequest) -> Result<SandboxExecutionResult, SandboxError> {
        self.execute_with(request, ExecutionStreams::default(), CancellationToken::new()).await
    }

    /// The same with live streams, and a token that cancels it.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn execute_with(
        &self,
        request: SandboxExecutionRequest,
        streams: ExecutionStreams,
        cancelled: CancellationToken,
    ) -> Result<SandboxExecutionResult, SandboxError> {
        Ok(self.execute_with_files(request, streams, cancelled).await?.0)
    }

    /// The same with the content of the files that the program left: those of the result, in its order.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn execute_with_files(
        &self,
        request: SandboxExecutionRequest,
        streams: ExecutionStreams,
        cancelled: CancellationToken,
    ) -> Result<(SandboxExecutionResult, Vec<CollectedFile>), SandboxError> {
        let asked = Asked { at: jiff::Timestamp::now(), instant: Instant::now() };
        let limits = limits::resolve(&request, &self.options.default_limits, self.options.maxima.as_ref())?;
        let inputs = files::check(request.files, &limits)?;
        self.validator.check_size(&request.code)?;
        let _permit = self.admission.enter()?;
        let environment = tokio::select! {
            environment = self.prepare(request.environment.clone()) => environment?,
            () = cancelled.cancelled() => return Err(broken_off(ErrorCode::Cancelled, "cancelled")),
            () = self.stopping.cancelled() => return Err(broken_off(ErrorCode::Interrupted, "the service stopped")),
        };
        let import_policy = self.options.imports.policy(&environment);
        let rules = files::with_own_modules(import_policy.clone(), &inputs);
        let report = tokio::select! {
            report = self.read(&self.readers, &request.code, &environment, rules) => report?,
            () = cancelled.cancelled() => return Err(broken_off(ErrorCode::Cancelled, "cancelled")),
            () = self.stopping.cancelled() => return Err(broken_off(ErrorCode::Interrupted, "the service stopped")),
        };
        let mut plan = ExecutionPlan {
            id: ExecutionId::generate(),
            code: request.code,
            args: request.args,
            env: request.env,
            disk_limit_is_default: request.resources.disk_limit.is_none(),
            limits,
            environment,
            import_policy,
            imports: Vec::new(),
            zygote: zygote_mode(self.options.zygote, request.isolation.zygote),
            files: inputs,
            output_files: files::limits_of(request.output_files, self.options.file_limits),
        };
        if report.syntax_error.is_some()
            && let Some(error) = self.confirm_syntax_error(&plan, &report, &cancelled).await
        {
            return Ok((not_run(plan, error, report.warnings, asked, streams).await, Vec::new()));
        }
        let (warnings, imports) = accepted(report)?;
        plan.imports = imports.iter().map(|import| import.module.clone()).collect();
        let sandbox = self.backend.launch(&plan).await?;
        let watched =
            PythonExecutionMonitor::new(plan.limits.clone(), cancelled, self.stopping.clone(), asked.at, asked.instant)
                .watch(sandbox, &plan, request.stdin, streams)
                .await?;
        let mut result = watched.result;
        result.hints = hints::hints(&result, &imports);
        result.warnings = warnings;
        files::put_inline(&mut result, &watched.files, request.output_files, self.options.file_limits);
        Ok((result, watched.files))
    }

    /// Reads a program without running it: syntax, imports, dangerous constructs.
    ///
    /// # Errors
    /// The program is too long or contains NUL characters, as many programs are being read as may, or the Python
    /// environment cannot be prepared.
    pub async fn validate(&self, code: Vec<u8>, environment: Option<String>) -> Result<ValidationReport, SandboxError> {
        self.validator.check_size(&code)?;
        let _permit = self.validations.enter()?;
        let environment = self.prepare(environment).await?;
        let import_policy = self.options.imports.policy(&environment);
        let mut report = self.read(&self.validation_readers, &code, &environment, import_policy.clone()).await?;
        // CPython is only asked where that costs nobody a turn.
        if report.syntax_error.is_some()
            && let Ok(_permit) = self.admission.enter()
        {
            match self.ask_cpython(code, &environment, import_policy, &CancellationToken::new()).await {
                Compiled::Rejected(error) => report.syntax_error = Some(error),
                Compiled::Accepted => {
                    report.syntax_error = None;
                    report.is_valid = report.violations.is_empty();
                }
                Compiled::Unknown => {}
            }
        }
        Ok(report)
    }

    /// The validator's report; it works on a thread that may block.
    async fn read(
        &self,
        readers: &Arc<Semaphore>,
        code: &[u8],
        environment: &PythonEnvironment,
        imports: Option<Arc<ImportPolicy>>,
    ) -> Result<ValidationReport, SandboxError> {
        let (validator, code, python) = (self.validator.clone(), code.to_vec(), environment.python);
        // It is never closed.
        let turn = Arc::clone(readers).acquire_owned().await.ok();
        let reading = tokio::task::spawn_blocking(move || {
            let report = validator.validate(&code, python, imports.as_deref());
            drop(turn);
            report
        });
        reading.await.map_err(|error| {
            SandboxError::new(ErrorCode::SandboxFailure, "the validation of the program was broken off")
                .with_source(error)
        })
    }

    /// CPython's own word on what the validator takes for a syntax error; the validator's where CPython cannot say.
    /// Nothing when CPython accepts it.
    async fn confirm_syntax_error(
        &self,
        plan: &ExecutionPlan,
        report: &ValidationReport,
        cancelled: &CancellationToken,
    ) -> Option<PythonError> {
        let policy = plan.import_policy.clone();
        match self.ask_cpython(plan.code.clone(), &plan.environment, policy, cancelled).await {
            Compiled::Accepted => None,
            Compiled::Rejected(error) => Some(error),
            Compiled::Unknown => report.syntax_error.clone(),
        }
    }

    async fn ask_cpython(
        &self,
        code: Vec<u8>,
        environment: &PythonEnvironment,
        import_policy: Option<Arc<ImportPolicy>>,
        cancelled: &CancellationToken,
    ) -> Compiled {
        let plan = compile_check::plan(&code, environment, import_policy, &self.options.default_limits);
        // A host that cannot run this sandbox cannot run the program's either, and will say so then.
        let Ok(sandbox) = self.backend.launch(&plan).await else { return Compiled::Unknown };
        let (cancelled, stopping) = (cancelled.clone(), self.stopping.clone());
        let (at, instant) = (jiff::Timestamp::now(), Instant::now());
        PythonExecutionMonitor::new(plan.limits.clone(), cancelled, stopping, at, instant)
            .watch(sandbox, &plan, code, ExecutionStreams::default())
            .await
            .map_or(Compiled::Unknown, |watched| compile_check::answer(&watched.result))
    }

    /// Prepares an environment, the default one when `name` is left out.
    ///
    /// # Errors
    /// It cannot be prepared.
    pub async fn prepare(&self, name: Option<String>) -> Result<PythonEnvironment, SandboxError> {
        let environments = Arc::clone(&self.environments);
        let progress = Arc::clone(&self.progress);
        let mut selection =
            EnvironmentSelection { python: self.options.python.clone(), ..EnvironmentSelection::default() };
        if let Some(name) = name {
            selection.name = name;
        }
        let name = selection.name.clone();
        // Nothing panics while it holds the lock.
        let known = self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some((_, environment)) = known.filter(|(at, _)| at.elapsed() < READY_FOR) {
            return Ok(environment);
        }
        let prepared = tokio::task::spawn_blocking(move || environments.prepare(&selection, progress.as_ref())).await;
        match prepared {
            Ok(Ok(environment)) => {
                let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
                ready.retain(|_, (at, _)| at.elapsed() < READY_FOR);
                ready.insert(name, (Instant::now(), environment.clone()));
                Ok(environment)
            }
            Ok(Err(error)) => Err(environment_unavailable(error)),
            Err(error) => {
                Err(SandboxError::new(ErrorCode::SandboxFailure, "the preparation of the environment was broken off")
                    .with_source(error))
            }
        }
    }

    /// Makes the warm interpreters of an environment, the default one when `name` is left out.
    ///
    /// # Errors
    /// The environment cannot be prepared. Without warm interpreters programs start cold, so their failure is none.
    pub async fn warm_up(&self, name: Option<String>) -> Result<(), SandboxError> {
        let environment = self.prepare(name).await?;
        if self.options.zygote == ZygoteMode::On {
            let import_policy = self.options.imports.policy(&environment);
            self.backend.warm_up(&environment, import_policy).await;
        }
        Ok(())
    }

    /// The warm interpreters as they are now.
    pub fn warm_report(&self) -> WarmReport {
        self.backend.warm_report()
    }

    /// Interrupts everything that still runs; each execution ends with its own result, of reason `Interrupted`.
    pub fn interrupt(&self) {
        self.stopping.cancel();
    }

    /// Ends the backend and removes what it made. Call it when the last execution has ended.
    pub async fn shutdown(&self) {
        self.interrupt();
        self.backend.shutdown().await;
    }

    /// Tries every layer of the backend without running a program.
    ///
    /// # Errors
    /// No sandbox of any tier can be made.
    pub async fn probe(&self) -> Result<IsolationReport, SandboxError> {
        self.backend.probe().await
    }
}

/// When an execution was asked for, on the wall and for measuring.
#[derive(Clone, Copy)]
struct Asked {
    at: jiff::Timestamp,
    instant: Instant,
}

/// Off where anybody says so: it is what isolates more.
const fn zygote_mode(service: ZygoteMode, request: Option<ZygoteMode>) -> ZygoteMode {
    match (service, request) {
        (ZygoteMode::On, None | Some(ZygoteMode::On)) => ZygoteMode::On,
        _ => ZygoteMode::Off,
    }
}

/// What a report leaves for the result of a program that may run.
///
/// # Errors
/// It may not.
fn accepted(report: ValidationReport) -> Result<(Vec<CodeFinding>, Vec<ModuleImport>), SandboxError> {
    let Some(first) = report.violations.first() else { return Ok((report.warnings, report.imports)) };
    let others = match report.violations.len() - 1 {
        0 => String::new(),
        1 => ", and one more".to_owned(),
        more => format!(", and {more} more"),
    };
    let message = format!("line {}: {}{others}", first.line, first.message);
    let mut error = SandboxError::new(ErrorCode::CodeRejected, message).with_hint(first.hint.clone());
    error.violations = report.violations;
    Err(error)
}

/// The result of a program that CPython refuses: nothing was run.
async fn not_run(
    plan: ExecutionPlan,
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
    SandboxExecutionResult {
        execution_id: plan.id,
        status: ExecutionStatus::Failed,
        is_completed: ExecutionStatus::Failed.is_completed(),
        exit_code: Some(1),
        stdout: String::new(),
        stderr: error.traceback.clone(),
        truncated: Truncated::default(),
        termination: Termination {
            reason: TerminationReason::Exception,
            message: format!("{}{at}: the program was not run", error.name),
            limit: None,
            peak: None,
        },
        error: Some(error),
        hints: Vec::new(),
        warnings,
        usage: ResourceUsage::default(),
        limits: plan.limits,
        isolation: None,
        start: None,
        files: Vec::new(),
        skipped_files: Vec::new(),
        environment: plan.environment.to_string(),
        queued_at: asked.at,
        started_at: None,
        finished_at: jiff::Timestamp::now(),
    }
}

/// An execution that ended before it began: there is no result of it.
fn broken_off(code: ErrorCode, why: &str) -> SandboxError {
    SandboxError::new(code, format!("{why} before the program was started")).with_hint("nothing was run")
}

fn environment_unavailable(error: EnvironmentError) -> SandboxError {
    SandboxError::new(ErrorCode::EnvironmentUnavailable, error.to_string()).with_hint(error.hint()).with_source(error)
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
