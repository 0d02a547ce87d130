//! The backend: engines by environment and import policy, cgroups, disks, and the launch of one sandbox.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use aevatar_sandbox_contract::{
    DEFAULT_LIMITS, ErrorCode, ExecutionPlan, ImportPolicy, IsolationReport, IsolationTier, RunningSandbox,
    SandboxBackend, SandboxError,
};
use aevatar_sandbox_jail::{
    Engine, Keeper, LaunchFds,
    cgroup::{CgroupError, CgroupHost, CgroupInstance, CgroupLimits, SandboxCgroup},
    disk::{DiskError, DiskImages},
    spec::{EngineSpec, Identity, ScratchBacking},
};
use rustix::{
    fs::{Gid, MemfdFlags, Mode, OFlags, Uid, fchown, memfd_create},
    pipe::{PipeFlags, pipe_with},
};

use crate::{
    bytecode,
    layout::{self, GUEST, site_packages},
    plan::{HostAbilities, ScratchPlan, cgroup_limits, plan, scratch},
    sandbox::LocalSandbox,
    setup::{self, Layers, choose_identity},
    zygote::ZygoteOptions,
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

/// What an engine's root is made from: the key of the environment, and the policy.
type EngineKey = (String, Option<Arc<ImportPolicy>>);

/// One engine, once it runs. Its own lock is held while it starts.
type EngineSlot = Arc<Mutex<Option<Arc<Engine>>>>;

#[derive(Debug)]
struct Host {
    tier: IsolationTier,
    identity: Identity,
    disks: Result<DiskImages, String>,
    /// Where the guest's bytecode is kept.
    bytecode: PathBuf,
    uids: Arc<UidSlots>,
    /// Before `cgroups`, so that they are dropped, and every process is dead, when those are removed.
    engines: Mutex<HashMap<EngineKey, EngineSlot>>,
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
            let launched = tokio::task::spawn_blocking(move || host.launch(&plan)).await;
            let parts = launched.map_err(|error| failed("launch a sandbox", io::Error::other(error)))??;
            LocalSandbox::new(parts).map_err(|error| failed("watch a sandbox", error))
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

    async fn shutdown(&self) {
        let host = Arc::clone(&self.0);
        let ended = tokio::task::spawn_blocking(move || lock(&host.engines).clear()).await;
        // A panic in there was reported by the runtime already; dropping the backend ends the engines all the same.
        drop(ended);
    }
}

/// A launched sandbox with the server's ends of everything.
#[derive(Debug)]
pub(crate) struct LaunchedParts {
    /// Keeps the engine alive.
    pub(crate) engine: Arc<Engine>,
    pub(crate) handle: aevatar_sandbox_jail::SandboxHandle,
    pub(crate) cgroup: Option<SandboxCgroup>,
    pub(crate) oom_event: Option<OwnedFd>,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) report: OwnedFd,
    /// The disk, held until the sandbox is removed: releasing it takes the kernel a millisecond, which must not come
    /// between the program's end and its result.
    pub(crate) scratch: Option<OwnedFd>,
    pub(crate) uid: UidSlot,
    pub(crate) limits: aevatar_sandbox_contract::ResourceLimits,
    pub(crate) isolation: aevatar_sandbox_contract::IsolationReport,
}

/// What [`Host::make_resources`] makes.
struct Resources {
    scratch_plan: ScratchPlan,
    scratch: Option<OwnedFd>,
    no_disk: Option<String>,
    cgroup: Option<SandboxCgroup>,
    joins: Vec<OwnedFd>,
    oom_event: Option<OwnedFd>,
}

impl Host {
    fn cgroups(&self) -> Result<&CgroupInstance, &CgroupError> {
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
            SandboxCgroup::create(instance, "probe", cgroup_limits).map(|cgroup| cgroup.remove_now())
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

    /// Everything up to the message that launches the sandbox. Blocks for milliseconds.
    fn launch(&self, execution: &ExecutionPlan) -> Result<LaunchedParts, SandboxError> {
        let cgroups = self.cgroups();
        if let (Err(error), IsolationTier::Default) = (cgroups, self.tier) {
            return Err(setup::no_cgroups(error));
        }
        let uid = self.uids.take()?;
        // What starts an engine and what makes a disk and cgroups wait for the kernel at different places.
        let (engine, resources) = std::thread::scope(|scope| {
            let resources = scope.spawn(|| self.make_resources(execution, &uid));
            let engine = self.engine(execution);
            (engine, resources.join())
        });
        let engine = engine?;
        let report = engine.report();
        if let (Some(failure), IsolationTier::Default) = (&report.proc_failure, self.tier) {
            return Err(setup::no_proc(failure));
        }
        let Resources { scratch_plan, scratch, no_disk, cgroup, joins, oom_event } =
            resources.map_err(|_| failed("make a disk and cgroups", io::Error::other("a thread panicked")))??;
        let abilities = HostAbilities {
            identity: self.identity,
            cgroups: cgroup.is_some(),
            proc: report.proc_failure.is_none(),
            landlock: report.landlock_abi > 0,
        };
        let sandbox = plan(execution, scratch_plan, abilities, uid.slot);

        let isolation = Layers {
            tier: self.tier,
            identity: self.identity,
            engine: report,
            cgroups: cgroups.map(|_| ()),
            scratch: sandbox.spec.scratch,
            limits: &sandbox.limits,
            no_disk,
        }
        .report();

        let make_pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed("make a pipe", errno.into()));
        let (stdin, stdin_ours) = make_pipe()?;
        let (stdout_ours, stdout) = make_pipe()?;
        let (stderr_ours, stderr) = make_pipe()?;
        let (report_ours, report) = make_pipe()?;
        if let Identity::Range { .. } = self.identity {
            // So that a program can open its streams once more, as /dev/stdout: a pipe belongs to whoever made it.
            let id = self.identity.host_uid(uid.slot);
            for stream in [&stdin, &stdout, &stderr] {
                fchown(stream, Some(Uid::from_raw(id)), Some(Gid::from_raw(id)))
                    .map_err(|errno| failed("hand over a pipe", errno.into()))?;
            }
        }
        let program = program_file(&execution.code).map_err(|error| failed("hand over the program", error))?;
        let (handle, events) = Engine::events().map_err(|error| failed("make a socket", error))?;
        let fds = LaunchFds { events, program, stdin, stdout, stderr, report, cgroups: joins, scratch };
        engine
            .launch(sandbox.spec, &fds)
            .map_err(|error| failed("reach the sandbox engine", io::Error::other(error)))?;
        Ok(LaunchedParts {
            engine,
            handle,
            cgroup,
            oom_event,
            stdin: stdin_ours,
            stdout: stdout_ours,
            stderr: stderr_ours,
            report: report_ours,
            scratch: fds.scratch,
            uid,
            limits: sandbox.limits,
            isolation,
        })
    }

    /// What a sandbox needs that does not depend on the engine: the disk it writes to and the cgroups with its limits.
    fn make_resources(&self, execution: &ExecutionPlan, uid: &UidSlot) -> Result<Resources, SandboxError> {
        let (scratch_plan, scratch, no_disk) = self.make_disk(execution, uid)?;
        let limits = cgroup_limits(&scratch_plan.limits);
        let cgroup = self
            .cgroups()
            .ok()
            .map(|instance| SandboxCgroup::create(instance, &execution.id.to_string(), limits))
            .transpose()
            .map_err(cgroup_failed)?;
        let joins = cgroup.as_ref().map(SandboxCgroup::join_files).transpose().map_err(cgroup_failed)?;
        let oom_event = cgroup.as_ref().map(SandboxCgroup::oom_event).transpose().map_err(cgroup_failed)?.flatten();
        Ok(Resources { scratch_plan, scratch, no_disk, cgroup, joins: joins.unwrap_or_default(), oom_event })
    }

    /// The disk. A host that turns out to give none is planned for again without; a host whose disk is full is an
    /// error.
    fn make_disk(
        &self,
        execution: &ExecutionPlan,
        uid: &UidSlot,
    ) -> Result<(ScratchPlan, Option<OwnedFd>, Option<String>), SandboxError> {
        let planned = scratch(execution, self.tier, self.disks.is_ok())?;
        let disks = match (&self.disks, planned.backing) {
            (Ok(disks), ScratchBacking::Mount) => disks,
            (Ok(_), ScratchBacking::Tmpfs { .. }) => return Ok((planned, None, None)),
            (Err(reason), _) => return Ok((planned, None, Some(reason.clone()))),
        };
        let limits = &planned.limits;
        match disks.create(limits.disk_limit.bytes(), limits.inode_limit, self.identity.host_uid(uid.slot)) {
            Ok(mount) => Ok((planned, Some(mount), None)),
            // A default may be lowered; what was asked for is given or refused.
            Err(error @ DiskError::HostFull { .. }) if !execution.disk_limit_is_default => {
                Err(SandboxError::new(ErrorCode::LimitNotEnforceable, error.to_string())
                    .with_hint("free some space, or ask for a smaller disk limit"))
            }
            Err(error) => Ok((scratch(execution, self.tier, false)?, None, Some(error.to_string()))),
        }
    }

    fn start_engine(&self, spec: &EngineSpec) -> Result<Engine, SandboxError> {
        let spare = lock(&self.spare_keeper).take();
        spare
            .map_or_else(Keeper::spawn, Ok)
            .and_then(|keeper| Engine::start(keeper, spec, self.cgroups().ok()))
            .map_err(|error| setup::engine_failed(error, self.identity))
    }

    /// The engine of an environment and a policy, started on first use and again after its death.
    fn engine(&self, execution: &ExecutionPlan) -> Result<Arc<Engine>, SandboxError> {
        let (environment, policy) = (&execution.environment, &execution.import_policy);
        // Two locks: starting one environment's engine must not hold up another's.
        let slot = Arc::clone(lock(&self.engines).entry((environment.key.clone(), policy.clone())).or_default());
        let mut slot = lock(&slot);
        if let Some(engine) = slot.as_ref().filter(|engine| !engine.has_ended()) {
            return Ok(Arc::clone(engine));
        }
        let bytecode = bytecode::compiled(environment, &site_packages(environment), &GUEST, &self.bytecode);
        let root = layout::root(environment, policy.as_deref(), bytecode)?;
        let spec = EngineSpec { root, identity: self.identity };
        let engine = self.start_engine(&spec)?;
        Ok(Arc::clone(slot.insert(Arc::new(engine))))
    }
}

/// The ids of the engine's range that are in use.
#[derive(Debug)]
pub(crate) struct UidSlots {
    identity: Identity,
    taken: Mutex<(u32, BTreeSet<u32>)>,
}

/// An id that is in use until this is dropped.
#[derive(Debug)]
pub(crate) struct UidSlot {
    slot: u32,
    slots: Arc<UidSlots>,
}

impl UidSlots {
    const fn new(identity: Identity) -> Self {
        Self { identity, taken: Mutex::new((0, BTreeSet::new())) }
    }

    /// The next id that is free: one that was just given back comes last.
    fn take(self: &Arc<Self>) -> Result<UidSlot, SandboxError> {
        if matches!(self.identity, Identity::Own { .. }) {
            return Ok(UidSlot { slot: 0, slots: Arc::clone(self) });
        }
        let mut taken = lock(&self.taken);
        for _candidate in 1..Identity::RANGE {
            let next = taken.0 % (Identity::RANGE - 1) + 1;
            taken.0 = next;
            if taken.1.insert(next) {
                return Ok(UidSlot { slot: next, slots: Arc::clone(self) });
            }
        }
        Err(SandboxError::new(ErrorCode::SandboxFailure, "more than 65535 sandboxes run at once"))
    }
}

impl Drop for UidSlot {
    fn drop(&mut self) {
        lock(&self.slots.taken).1.remove(&self.slot);
    }
}

/// The program as a file without a name, which init can read at its own pace.
fn program_file(code: &[u8]) -> io::Result<OwnedFd> {
    let memory = memfd_create("program", MemfdFlags::CLOEXEC)?;
    // A second, read-only description: the sandbox's init must not be able to change what the server holds.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memory));
    let reader = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    std::io::Write::write_all(&mut std::fs::File::from(memory), code)?;
    Ok(reader)
}

fn cgroup_failed(error: CgroupError) -> SandboxError {
    let hint = error.hint();
    failed("limit a sandbox", io::Error::other(error)).with_hint(hint)
}

pub(crate) fn failed(what: &str, error: io::Error) -> SandboxError {
    SandboxError::new(ErrorCode::SandboxFailure, format!("could not {what}: {error}")).with_source(error)
}

/// No code here panics while it holds a lock, and what is behind them is consistent between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
