//! The service: from a request to a result.
//!
//! `accept` takes a request in, `run` brings it to its end, `follow` answers for it meanwhile and afterwards, `recover`
//! goes on with what another server left.

mod accept;
mod follow;
mod read;
mod recover;
mod run;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aevatar_sandbox_contract::{
    Caller, CollectedFile, DEFAULT_LIMITS, ErrorCode, ExecutionId, ExecutionStore, FileLimits, IsolationReport,
    LimitMaxima, PythonEnvironment, ResourceLimits, SandboxBackend, SandboxError, SandboxExecutionRequest,
    SandboxExecutionResult, WarmReport, ZygoteMode,
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use self::accept::{Accepted, Recording};
pub use self::follow::OutputRange;
use crate::{
    admission::Admission,
    environment::{NoProgress, PrepareProgress, PythonEnvironmentManager},
    feed::Feed,
    memory_store::MemoryStore,
    monitor::{ExecutionStreams, Watched},
    queue::{Queue, QueueLimits, QueueState},
    rate::Rates,
    validator::{ImportRules, PythonCodeValidator, ValidatorOptions},
};

/// How a service works.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Limits of an execution that asks for none.
    pub default_limits: ResourceLimits,
    /// The most that a request may ask for; without it, what the host can give.
    pub maxima: Option<LimitMaxima>,
    /// Programs that may run at the same time; the others wait for their turn.
    pub max_concurrent_executions: usize,
    /// Executions that may wait; one more is refused as [`ErrorCode::Busy`].
    pub max_queue_length: usize,
    /// Bytes of the requests that may wait, together; beyond, likewise.
    pub max_queue_bytes: usize,
    /// How long one may wait for its turn.
    pub queue_timeout: Duration,
    /// What is checked before a program runs.
    pub validator: ValidatorOptions,
    /// Which imports are restricted.
    pub imports: ImportRules,
    /// The interpreter to make environments with; any CPython from 3.11 on is found when left out.
    pub python: Option<PathBuf>,
    /// Whether interpreters may be forked from warm ones; a request may say no for itself.
    pub zygote: ZygoteMode,
    /// How much is taken of the files that a program leaves.
    pub file_limits: FileLimits,
    /// Whether the store keeps programs after they have ended.
    pub keep_code: bool,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            default_limits: DEFAULT_LIMITS,
            maxima: None,
            max_concurrent_executions: default_concurrency(),
            max_queue_length: 1000,
            max_queue_bytes: 256 << 20,
            queue_timeout: Duration::from_mins(1),
            validator: ValidatorOptions::default(),
            imports: ImportRules::default(),
            python: None,
            zygote: ZygoteMode::On,
            file_limits: FileLimits::default(),
            keep_code: false,
        }
    }
}

/// An execution that has ended, for those who watch.
#[derive(Clone, Copy, Debug)]
pub struct EndedExecution<'a> {
    /// Whose it is.
    pub owner: &'a str,
    /// Hex SHA-256 of the request.
    pub request_digest: &'a str,
    /// From the request to its turn, without what was done with the request meanwhile; nothing where its turn never
    /// came.
    pub queue_wait: Option<Duration>,
    /// The program; only where the service keeps programs.
    pub code: Option<&'a [u8]>,
    /// The result. Of one that never ran, it says why.
    pub result: &'a SandboxExecutionResult,
}

/// Hears of what a service does. Nothing here may block.
pub trait ExecutionObserver: Send + Sync {
    /// An execution ended. It is heard before whoever waits for the execution gets its result.
    fn ended(&self, execution: &EndedExecution<'_>);

    /// The store failed behind the requests: nobody is told who asked for something.
    fn store_failed(&self) {}
}

/// How many programs a service runs at the same time unless told otherwise: sixteen for each CPU, and one for each
/// 64 MiB of memory at most. Most programs wait or are short; the limits of each keep the others running.
pub fn default_concurrency() -> usize {
    const MEMORY_OF_ONE: u64 = 64 << 20;
    let system = rustix::system::sysinfo();
    let memory = system.totalram * u64::from(system.mem_unit);
    let by_memory = usize::try_from(memory / MEMORY_OF_ONE).unwrap_or(usize::MAX);
    (cpus() * 16).min(by_memory.max(1))
}

/// For how long an environment that was ready is taken to be ready: looking at it takes a hundred system calls.
const READY_FOR: Duration = Duration::from_secs(1);

/// How long launches that nobody waits for any more may take, at the end.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(10);

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
    queue: Queue,
    rates: Arc<Rates>,
    live: LiveExecutions,
    store: Arc<dyn ExecutionStore>,
    observers: Vec<Arc<dyn ExecutionObserver>>,
    options: Arc<ServiceOptions>,
    /// Launches, also those that nobody waits for any more.
    launches: TaskTracker,
    /// Nobody has a turn any more.
    draining: CancellationToken,
    /// What runs is ended.
    stopping: CancellationToken,
}

/// An execution that waits or runs here.
#[derive(Debug)]
struct Live {
    id: ExecutionId,
    owner: String,
    feed: Arc<Feed>,
    cancelled: CancellationToken,
    ticket: u64,
}

/// Those of one service.
#[derive(Clone, Debug, Default)]
struct LiveExecutions(Arc<Mutex<BTreeMap<ExecutionId, Arc<Live>>>>);

impl LiveExecutions {
    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ExecutionId, Arc<Live>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Known until what is returned is dropped.
    fn insert(&self, live: Arc<Live>) -> Registration {
        let id = live.id;
        self.lock().insert(id, live);
        Registration { all: self.clone(), id }
    }

    fn get(&self, owner: &str, id: ExecutionId) -> Option<Arc<Live>> {
        self.lock().get(&id).filter(|live| live.owner == owner).cloned()
    }
}

/// That an execution is known here. Whoever has it is its owner of state.
#[derive(Debug)]
struct Registration {
    all: LiveExecutions,
    id: ExecutionId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let live = self.all.lock().remove(&self.id);
        if let Some(live) = live {
            // Where it has not ended, nobody will bring it to an end.
            live.feed.close();
        }
    }
}

/// How an execution is run, beside what the request says.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "streams of unnamed types")]
pub struct ExecuteOptions {
    /// Live streams.
    pub streams: ExecutionStreams,
    /// Cancels it.
    pub cancelled: CancellationToken,
    /// The caller's own name for the request: the same name and request are the same execution.
    pub idempotency_key: Option<String>,
}

/// What came of an execution.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutionOutcome {
    /// The result.
    pub result: SandboxExecutionResult,
    /// What the program left, with its content.
    pub files: Vec<CollectedFile>,
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
            queue: Queue::new(QueueLimits {
                running: options.max_concurrent_executions,
                waiting: options.max_queue_length,
                waiting_bytes: options.max_queue_bytes,
            }),
            rates: Arc::default(),
            live: LiveExecutions::default(),
            store: Arc::new(MemoryStore::default()),
            observers: Vec::new(),
            options: Arc::new(options),
            launches: TaskTracker::new(),
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// The same, telling `progress` while it prepares an environment.
    #[must_use]
    pub fn with_progress(mut self, progress: impl PrepareProgress + Send + 'static) -> Self {
        self.progress = Arc::new(progress);
        self
    }

    /// The same with records in `store`, rather than in memory.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn ExecutionStore>) -> Self {
        self.store = store;
        self
    }

    /// The same, with one more observer.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn ExecutionObserver>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Runs a program to its end. A program that fails is a result, not an error.
    ///
    /// # Errors
    /// The request makes no sense, the program breaks a rule, too many wait, its turn did not come in time, the host
    /// cannot give what is asked for, the Python environment cannot be prepared, or the sandbox itself failed.
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
        let options = ExecuteOptions { streams, cancelled, idempotency_key: None };
        Ok(self.execute_for(&Caller::default(), request, options).await?.result)
    }

    /// The same for `caller`, with the files that the program leaves.
    ///
    /// # Errors
    /// As [`Self::execute`]; the idempotency key was used for another request; or the store failed.
    pub async fn execute_for(
        &self,
        caller: &Caller,
        request: SandboxExecutionRequest,
        options: ExecuteOptions,
    ) -> Result<ExecutionOutcome, SandboxError> {
        let ExecuteOptions { streams, cancelled, idempotency_key } = options;
        let recording = idempotency_key.map_or(Recording::AtEnd, |key| Recording::Before(Some(key)));
        match self.accept(caller, request, recording, &cancelled).await? {
            Accepted::New(admitted) => {
                let Watched { result, files } = self.run(*admitted, streams).await?;
                Ok(ExecutionOutcome { result, files })
            }
            Accepted::Known(id) => {
                // Whoever asked first can cancel it.
                let result = tokio::select! {
                    result = self.await_result(caller, id) => result?,
                    () = cancelled.cancelled() => return Err(accept::broken_off(
                        ErrorCode::Cancelled,
                        "no longer waited for",
                    )),
                };
                Ok(ExecutionOutcome { result, files: Vec::new() })
            }
        }
    }

    /// Accepts a program and returns its identity at once: it runs when its turn comes, and survives a crash of the
    /// server in a store that does.
    ///
    /// # Errors
    /// As [`Self::execute`], as far as it is known without running the program.
    pub async fn start(&self, request: SandboxExecutionRequest) -> Result<ExecutionId, SandboxError> {
        self.start_for(&Caller::default(), request, None).await
    }

    /// The same for `caller`, who may give it a name of their own: the same name and request are the same execution.
    ///
    /// # Errors
    /// As [`Self::start`]; or the name was used for another request.
    pub async fn start_for(
        &self,
        caller: &Caller,
        request: SandboxExecutionRequest,
        idempotency_key: Option<String>,
    ) -> Result<ExecutionId, SandboxError> {
        // Whoever asks may go away before it is recorded, but not in the middle.
        let (service, caller) = (self.clone(), caller.clone());
        let accepting = async move {
            let cancelled = CancellationToken::new();
            let recording = Recording::Before(idempotency_key);
            match service.accept(&caller, request, recording, &cancelled).await? {
                Accepted::Known(id) => Ok(id),
                Accepted::New(admitted) => {
                    let id = admitted.live.id;
                    service.run_behind(*admitted);
                    Ok(id)
                }
            }
        };
        let accepting = tokio::spawn(accepting.in_current_span());
        accepting.await.map_err(|error| SandboxError::broken_off("the request", error))?
    }

    /// Runs `code` to see whether sandboxes work; nothing when all places are taken. It is in no record.
    ///
    /// # Errors
    /// They do not.
    pub async fn self_check(&self, code: &str) -> Result<Option<SandboxExecutionResult>, SandboxError> {
        let QueueState { running, capacity, waiting, .. } = self.queue.state();
        if running >= capacity || waiting > 0 {
            return Ok(None);
        }
        let (request, cancelled) = (SandboxExecutionRequest::new(code), CancellationToken::new());
        match self.accept(&Caller::default(), request, Recording::Never, &cancelled).await? {
            Accepted::New(admitted) => Ok(Some(self.run(*admitted, ExecutionStreams::default()).await?.result)),
            Accepted::Known(_) => Ok(None),
        }
    }

    /// How many run and wait.
    pub fn queue_state(&self) -> QueueState {
        self.queue.state()
    }

    /// How it works.
    pub fn options(&self) -> &ServiceOptions {
        &self.options
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

    /// Starts nothing any more. What runs goes on; what waits is left to the store, or told that the service stops.
    pub async fn drain(&self) {
        self.queue.stop();
        self.draining.cancel();
        if let Err(error) = self.store.release().await {
            self.tell_store_failed();
            tracing::error!("{error}: what waits is started when this server's end is noticed");
        }
    }

    /// Interrupts everything that still runs; each execution ends with its own result, of reason `Interrupted`.
    pub fn interrupt(&self) {
        self.queue.stop();
        self.draining.cancel();
        self.stopping.cancel();
    }

    /// Returns when nothing waits or runs here.
    pub async fn idle(&self) {
        loop {
            let Some(live) = self.live.lock().values().next().cloned() else { return };
            live.feed.ended().await;
            // It is forgotten a moment after.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends the backend and removes what it made. Call it when the last execution has ended.
    pub async fn shutdown(&self) {
        self.interrupt();
        self.launches.close();
        // What is still being made is finished, and removed, before the process may end.
        drop(tokio::time::timeout(LAUNCH_PATIENCE, self.launches.wait()).await);
        self.backend.shutdown().await;
    }

    fn tell_ended(&self, execution: &EndedExecution<'_>) {
        for observer in &self.observers {
            observer.ended(execution);
        }
    }

    fn tell_store_failed(&self) {
        for observer in &self.observers {
            observer.store_failed();
        }
    }

    /// Tries every layer of the backend without running a program.
    ///
    /// # Errors
    /// No sandbox of any tier can be made.
    pub async fn probe(&self) -> Result<IsolationReport, SandboxError> {
        self.backend.probe().await
    }
}

#[cfg(test)]
mod tests;
