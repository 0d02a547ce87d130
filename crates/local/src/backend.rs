//! The backend: engines by environment and import policy, cgroups, disks, and the launch of one sandbox.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aevatar_sandbox_contract::{
    DEFAULT_LIMITS, ErrorCode, ExecutionId, ExecutionPlan, ImportPolicy, IsolationReport, IsolationTier,
    PythonEnvironment, RunningSandbox, SandboxBackend, SandboxError, WarmReport, ZygoteMode,
};
use aevatar_sandbox_jail::{
    Engine, Keeper,
    cgroup::{CgroupError, CgroupHost, CgroupInstance, CgroupLimits, SandboxCgroup},
    disk::DiskImages,
    layers::left_out,
    spec::{EngineSpec, Identity, ScratchBacking},
};

use crate::{
    boxes::Origin,
    bytecode,
    layout::{self, GUEST, site_packages},
    sandbox::LocalSandbox,
    setup::{self, Layers, choose_identity},
    uids::UidSlots,
    zygote::{ImportCounts, Pulse, Warm, ZygoteOptions},
};

/// How the local backend works.
#[derive(Clone, Debug)]
pub struct LocalBackendOptions {
    /// How much isolation is asked for.
    pub tier: IsolationTier,
    /// Where empty disk images and the guest's bytecode are kept: a folder on a disk, private to this user.
    pub state_folder: PathBuf,
    /// Warm interpreters; without them every program starts cold.
    pub zygotes: Option<ZygoteOptions>,
}

/// Sandboxes of this host's own kernel.
///
/// One engine per Python environment and import policy; it ends, with every sandbox in it, when this is dropped or the process dies.
#[derive(Debug)]
pub struct LocalBackend(Arc<Host>);

/// How often, and how far apart, an engine is looked at after something failed in it.
const LOST_ATTEMPTS: u32 = 20;
const LOST_PAUSE: std::time::Duration = std::time::Duration::from_millis(2);

/// What an engine's root is made from: the key of the environment, and the policy.
type EngineKey = (String, Option<Arc<ImportPolicy>>);

/// One engine.
#[derive(Debug, Default)]
struct EngineSlot {
    /// Once it runs. Held for a moment.
    current: Mutex<Option<Arc<Running>>>,
    /// Held while it starts.
    starting: Mutex<()>,
}

/// An engine that runs, with its warm interpreters if there are to be some.
#[derive(Debug)]
pub(crate) struct Running {
    /// Before the engine, so that no worker is parked when that ends.
    warm: Option<Arc<Warm>>,
    pub(crate) engine: Arc<Engine>,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) tier: IsolationTier,
    pub(crate) identity: Identity,
    pub(crate) disks: Result<DiskImages, String>,
    /// Where the guest's bytecode is kept.
    bytecode: PathBuf,
    pub(crate) uids: Arc<UidSlots>,
    zygotes: Option<ZygoteOptions>,
    pub(crate) counts: Arc<ImportCounts>,
    /// When programs start and end.
    pub(crate) activity: Arc<Pulse>,
    served_cold: AtomicU64,
    /// Before `cgroups`, so that they are dropped, and every process is dead, when those are removed.
    engines: Mutex<HashMap<EngineKey, Arc<EngineSlot>>>,
    /// Made at the first launch, a moment before a keeper knows of them: until then nobody would remove them if this
    /// process were killed.
    cgroups: OnceLock<Result<CgroupInstance, CgroupError>>,
    /// What was found of the host's cgroups, until they are made.
    detected: Mutex<Option<Result<CgroupHost, CgroupError>>>,
    /// For the first engine: it starts up while the rest of the host and the environment are looked at.
    spare_keeper: Mutex<Option<Keeper>>,
}

impl LocalBackend {
    /// A backend for this host. Its first launch makes its cgroups, and removes what dead servers left.
    pub fn new(options: &LocalBackendOptions) -> Self {
        let detected = CgroupHost::detect();
        let unified = detected.as_ref().is_ok_and(CgroupHost::is_unified);
        // If that fails, the first engine tries again, and says why.
        let spare_keeper = if unified { None } else { Keeper::spawn().ok() };
        let identity = choose_identity();
        let disks = match identity {
            Identity::Range { .. } => {
                DiskImages::new(options.state_folder.join("disks")).map_err(|error| error.to_string())
            }
            Identity::Own { .. } => Err("only root may mount a disk image".to_owned()),
        };
        Self(Arc::new(Host {
            tier: options.tier,
            identity,
            disks,
            bytecode: options.state_folder.join("guest"),
            uids: Arc::new(UidSlots::new(identity)),
            zygotes: options.zygotes.clone(),
            counts: Arc::default(),
            activity: Arc::new(Pulse::new()),
            served_cold: AtomicU64::new(0),
            engines: Mutex::default(),
            cgroups: OnceLock::new(),
            detected: Mutex::new(Some(detected)),
            spare_keeper: Mutex::new(spare_keeper),
        }))
    }
}

#[async_trait::async_trait]
impl SandboxBackend for LocalBackend {
    async fn launch(&self, plan: &ExecutionPlan) -> Result<Box<dyn RunningSandbox>, SandboxError> {
        let host = Arc::clone(&self.0);
        let plan = plan.clone();
        // A task of its own: when the caller leaves in the middle, what was launched is still taken over, and dropped as
        // a sandbox, which ends and removes it.
        let launching = tokio::spawn(async move {
            host.activity.note();
            let warm = match host.warm_engine(&plan) {
                Some(warm) => warm.launch(&plan).await,
                None => None,
            };
            let launched = match warm {
                Some(sandbox) => Ok(sandbox),
                None => host.launch_cold(&plan).await,
            };
            host.activity.note();
            launched
        });
        match launching.await {
            Ok(launched) => launched.map(|sandbox| Box::new(sandbox) as Box<dyn RunningSandbox>),
            Err(error) => Err(failed("launch a sandbox", io::Error::other(error))),
        }
    }

    /// Makes an engine with an empty root, a cgroup with limits and a disk, and removes them.
    async fn probe(&self) -> Result<IsolationReport, SandboxError> {
        let host = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || host.probe()).await {
            Ok(report) => report,
            Err(error) => Err(failed("probe the host", io::Error::other(error))),
        }
    }

    async fn warm_up(&self, environment: &PythonEnvironment, import_policy: Option<Arc<ImportPolicy>>) {
        let host = Arc::clone(&self.0);
        if host.zygotes.is_none() {
            return;
        }
        let plan = ExecutionPlan {
            id: ExecutionId::generate(),
            code: Vec::new(),
            args: Vec::new(),
            env: std::collections::BTreeMap::new(),
            limits: DEFAULT_LIMITS,
            disk_limit_is_default: true,
            environment: environment.clone(),
            import_policy,
            imports: Vec::new(),
            zygote: ZygoteMode::On,
            files: Vec::new(),
            output_files: None,
        };
        let started = tokio::task::spawn_blocking(move || host.running(&plan)).await;
        // A host that cannot start an engine says so to the first program.
        if let Ok(Ok(running)) = started
            && let Some(warm) = &running.warm
        {
            warm.ready().await;
        }
    }

    fn warm_report(&self) -> WarmReport {
        let running = self.0.all_running();
        WarmReport {
            profiles: running
                .iter()
                .filter_map(|running| running.warm.as_ref())
                .flat_map(|warm| warm.report())
                .collect(),
            served_cold: self.0.served_cold.load(Ordering::Relaxed),
            unprofiled_imports: self.0.counts.report(),
        }
    }

    async fn shutdown(&self) {
        for running in self.0.all_running() {
            if let Some(warm) = &running.warm {
                warm.drain().await;
            }
        }
        let host = Arc::clone(&self.0);
        let ended = tokio::task::spawn_blocking(move || lock(&host.engines).clear()).await;
        // A panic in there was reported by the runtime already; dropping the backend ends the engines all the same.
        drop(ended);
    }
}

impl Host {
    /// A sandbox that has started its program in a fresh interpreter.
    async fn launch_cold(self: &Arc<Self>, plan: &ExecutionPlan) -> Result<LocalSandbox, SandboxError> {
        self.served_cold.fetch_add(1, Ordering::Relaxed);
        let engine = self.current(plan).map(|running| Arc::clone(&running.engine));
        match self.try_cold(plan).await {
            // Nothing was started, and the next engine is a new one.
            Err(_) if engine_is_lost(engine).await => self.try_cold(plan).await,
            launched => launched,
        }
    }

    async fn try_cold(self: &Arc<Self>, plan: &ExecutionPlan) -> Result<LocalSandbox, SandboxError> {
        let (host, plan) = (Arc::clone(self), plan.clone());
        let launched = tokio::task::spawn_blocking(move || host.make_box(&plan, Origin::Cold)).await;
        let parts = launched.map_err(|error| failed("launch a sandbox", io::Error::other(error)))??;
        let mut sandbox = LocalSandbox::new(parts).map_err(|error| failed("watch a sandbox", error))?;
        sandbox.started().await?;
        Ok(sandbox)
    }

    /// The engine of a program that is there, whether it still runs or not.
    fn current(&self, execution: &ExecutionPlan) -> Option<Arc<Running>> {
        let slot = Arc::clone(lock(&self.engines).get(&engine_key(execution))?);
        lock(&slot.current).clone()
    }

    /// The warm interpreters for a program, if its engine runs and has some.
    fn warm_engine(&self, execution: &ExecutionPlan) -> Option<Arc<Warm>> {
        let running = self.current(execution)?;
        if running.engine.has_ended() { None } else { running.warm.clone() }
    }

    fn all_running(&self) -> Vec<Arc<Running>> {
        let slots: Vec<Arc<EngineSlot>> = lock(&self.engines).values().cloned().collect();
        slots.iter().filter_map(|slot| lock(&slot.current).clone()).collect()
    }

    pub(crate) fn cgroups(&self) -> Result<&CgroupInstance, &CgroupError> {
        let make = || {
            let host = lock(&self.detected).take().unwrap_or_else(CgroupHost::detect);
            host.and_then(|host| CgroupInstance::create(&host))
        };
        self.cgroups.get_or_init(make).as_ref()
    }

    fn probe(&self) -> Result<IsolationReport, SandboxError> {
        let spec = EngineSpec { root: Vec::new(), identity: self.identity };
        let cgroups = self.cgroups();
        let engine = self.start_engine(&spec)?;
        let limits = DEFAULT_LIMITS;
        let tried = cgroups.ok().map(|instance| {
            let cgroup_limits = CgroupLimits { millicores: 100, memory: limits.memory_limit.bytes(), pids: 64 };
            SandboxCgroup::create(instance, "probe", cgroup_limits).map(|mut cgroup| cgroup.remove_now())
        });
        let tried = match &tried {
            Some(Err(error)) => Err(error),
            _ => cgroups.map(|_| ()),
        };
        let disk = self.disks.as_ref().map_err(Clone::clone).and_then(|disks| {
            let (bytes, inodes) = (limits.disk_limit.bytes(), limits.inode_limit);
            disks.create(bytes, inodes, self.identity.host_uid(1)).map_err(|error| error.to_string())
        });
        let scratch = match &disk {
            Ok(_) => ScratchBacking::Mount,
            Err(_) => ScratchBacking::Tmpfs { bytes: limits.memory_limit.bytes() / 2, inodes: limits.inode_limit },
        };
        Ok(Layers {
            tier: self.tier,
            identity: self.identity,
            engine: engine.report(),
            cgroups: tried,
            scratch,
            limits: &limits,
            no_disk: disk.err(),
        }
        .report())
    }

    fn start_engine(&self, spec: &EngineSpec) -> Result<Engine, SandboxError> {
        let spare = lock(&self.spare_keeper).take();
        spare
            .map_or_else(Keeper::spawn, Ok)
            .and_then(|keeper| Engine::start(keeper, spec, self.cgroups().ok()))
            .map_err(|error| setup::engine_failed(error, self.identity))
    }

    /// The engine of an environment and a policy, started on first use and again after its death.
    pub(crate) fn running(self: &Arc<Self>, execution: &ExecutionPlan) -> Result<Arc<Running>, SandboxError> {
        let (environment, policy) = (&execution.environment, &execution.import_policy);
        // Locks of their own: starting one environment's engine must not hold up another's, nor who looks at it.
        let slot = Arc::clone(lock(&self.engines).entry(engine_key(execution)).or_default());
        let current = || lock(&slot.current).clone().filter(|running| !running.engine.has_ended());
        if let Some(running) = current() {
            return Ok(running);
        }
        let _starting = lock(&slot.starting);
        if let Some(running) = current() {
            return Ok(running);
        }
        let bytecode = bytecode::compiled(environment, &site_packages(environment), &GUEST, &self.bytecode);
        let root = layout::root(environment, policy.as_deref(), bytecode)?;
        let spec = EngineSpec { root, identity: self.identity };
        let engine = Arc::new(self.start_engine(&spec)?);
        // A zygote finds its namespaces in /proc. Without a runtime nobody could look after it. It knows no trials.
        let warm = match (&self.zygotes, &engine.report().proc_failure) {
            (Some(options), None) if tokio::runtime::Handle::try_current().is_ok() && left_out().is_empty() => {
                Some(Warm::start(self, &engine, execution, options))
            }
            _ => None,
        };
        let running = Arc::new(Running { warm, engine });
        let before = lock(&slot.current).replace(Arc::clone(&running));
        // Outside of the lock: what is parked there ends.
        drop(before);
        Ok(running)
    }
}

/// Whether an engine that was there has ended: its keeper notices a moment after it.
async fn engine_is_lost(engine: Option<Arc<Engine>>) -> bool {
    let Some(engine) = engine else { return false };
    for _attempt in 0..LOST_ATTEMPTS {
        if engine.has_ended() {
            return true;
        }
        tokio::time::sleep(LOST_PAUSE).await;
    }
    false
}

fn engine_key(execution: &ExecutionPlan) -> EngineKey {
    (execution.environment.key.clone(), execution.import_policy.clone())
}

pub(crate) fn failed(what: &str, error: io::Error) -> SandboxError {
    SandboxError::new(ErrorCode::SandboxFailure, format!("could not {what}: {error}")).with_source(error)
}

/// No code here panics while it holds a lock, and what is behind them is consistent between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
