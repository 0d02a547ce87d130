//! The service: one call from a request to a result.

use std::{path::PathBuf, sync::Arc};

use aevatar_sandbox_contract::{
    DEFAULT_LIMITS, ErrorCode, ExecutionId, ExecutionPlan, LimitMaxima, PythonEnvironment, ResourceLimits,
    SandboxBackend, SandboxError, SandboxExecutionRequest, SandboxExecutionResult,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    environment::{EnvironmentError, EnvironmentSelection, NoProgress, PrepareProgress, PythonEnvironmentManager},
    limits,
    monitor::{ExecutionStreams, PythonExecutionMonitor},
    validator::{ImportRules, ValidatorOptions},
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
        }
    }
}

/// How many programs a service runs at the same time unless told otherwise: sixteen for each CPU. Most programs wait
/// or are short; the limits of each keep the others running.
pub fn default_concurrency() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) * 16
}

/// Runs untrusted Python.
#[derive(Clone)]
pub struct PythonSandboxService {
    backend: Arc<dyn SandboxBackend>,
    environments: Arc<PythonEnvironmentManager>,
    progress: Arc<dyn PrepareProgress + Send + Sync>,
    options: ServiceOptions,
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
            progress: Arc::new(NoProgress),
            options,
            stopping: CancellationToken::new(),
        }
    }

    /// The same, telling `progress` while it prepares an environment.
    #[must_use]
    pub fn with_progress(mut self, progress: impl PrepareProgress + Send + 'static) -> Self {
        self.progress = Arc::new(progress);
        self
    }

    /// Runs a program to its end. A program that fails is a result, not an error.
    ///
    /// # Errors
    /// The request makes no sense, the host cannot give what it asks for, the Python environment cannot be prepared, or
    /// the sandbox itself failed.
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
        let (queued_at, queued) = (jiff::Timestamp::now(), Instant::now());
        let limits = limits::resolve(&request, &self.options.default_limits)?;
        let environment = tokio::select! {
            environment = self.prepare(request.environment.clone()) => environment?,
            () = cancelled.cancelled() => return Err(broken_off(ErrorCode::Cancelled, "cancelled")),
            () = self.stopping.cancelled() => return Err(broken_off(ErrorCode::Interrupted, "the service stopped")),
        };
        let import_policy = self.options.imports.policy(&environment);
        let plan = ExecutionPlan {
            id: ExecutionId::generate(),
            code: request.code,
            args: request.args,
            env: request.env,
            disk_limit_is_default: request.resources.disk_limit.is_none(),
            limits,
            environment,
            import_policy,
        };
        let sandbox = self.backend.launch(&plan).await?;
        PythonExecutionMonitor::new(plan.limits.clone(), cancelled, self.stopping.clone(), queued_at, queued)
            .watch(sandbox, &plan, request.stdin, streams)
            .await
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
        let prepared = tokio::task::spawn_blocking(move || environments.prepare(&selection, progress.as_ref())).await;
        match prepared {
            Ok(environment) => environment.map_err(environment_unavailable),
            Err(error) => {
                Err(SandboxError::new(ErrorCode::SandboxFailure, "the preparation of the environment was broken off")
                    .with_source(error))
            }
        }
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
}

/// An execution that ended before it began: there is no result of it.
fn broken_off(code: ErrorCode, why: &str) -> SandboxError {
    SandboxError::new(code, format!("{why} while the Python environment was being prepared"))
        .with_hint("what was prepared so far is removed or used at the next attempt")
}

fn environment_unavailable(error: EnvironmentError) -> SandboxError {
    SandboxError::new(ErrorCode::EnvironmentUnavailable, error.to_string()).with_hint(error.hint()).with_source(error)
}
