//! Reading programs before they run, and without running them; and the environment that they are read for.

use std::sync::{Arc, PoisonError};

use aevatar_sandbox_contract::{
    Caller, ErrorCode, ExecutionPlan, ImportPolicy, PythonEnvironment, PythonError, SandboxError, ValidationReport,
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{PythonSandboxService, READY_FOR};
use crate::{
    compile_check::{self, Compiled},
    environment::{EnvironmentError, EnvironmentSelection},
    monitor::{ExecutionStreams, PythonExecutionMonitor},
};

impl PythonSandboxService {
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
            && let Some(_permit) = self.queue.try_enter(&Caller::default())
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
    pub(super) async fn read(
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
        reading.await.map_err(|error| SandboxError::broken_off("the validation of the program", error))
    }

    /// CPython's own word on what the validator takes for a syntax error; the validator's where CPython cannot say.
    /// Nothing when CPython accepts it.
    pub(super) async fn confirm_syntax_error(
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
        let (at, instant) = (aevatar_sandbox_contract::now(), Instant::now());
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
            Err(error) => Err(SandboxError::broken_off("the preparation of the environment", error)),
        }
    }
}

fn environment_unavailable(error: EnvironmentError) -> SandboxError {
    SandboxError::new(ErrorCode::EnvironmentUnavailable, error.to_string()).with_hint(error.hint()).with_source(error)
}
