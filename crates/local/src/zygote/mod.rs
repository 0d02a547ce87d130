//! Warm interpreters of one engine: the tree of zygotes, the workers that are parked, and the way of a program to one.

mod choice;
mod counts;
mod options;
mod order;
mod pool;
mod pulse;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aevatar_sandbox_contract::{
    ExecutionId, ExecutionPlan, ImportDecision, ProgramStart, PythonEnvironment, RunningSandbox as _, SandboxError,
    StartPath, WarmProfile, ZygoteMode,
};
use aevatar_sandbox_jail::{
    Engine,
    spec::{ScratchBacking, ZygoteSpec},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{
    backend::{Host, failed, lock},
    boxes::{DiskLimits, Origin},
    layout::{PROGRAM, PYTHON, scratch_links},
    plan::{ScratchPlan, needs, scratch, zygote_variables},
    sandbox::LocalSandbox,
};

use choice::Profiles;
pub(crate) use counts::ImportCounts;
pub use options::{BARE, ZygoteOptions, ZygoteProfile};
pub(crate) use order::{Order, is_set_late};
use pool::Pool;
pub(crate) use pulse::Pulse;
pub(crate) use tree::ReadyZygote;
use tree::Tree;

/// A zygote that has done nothing for so long while somebody waited for it hangs. A fork takes it a millisecond.
const ZYGOTE_PATIENCE: Duration = Duration::from_secs(3);
/// How often a request tries to have a worker forked before it goes cold.
const ATTEMPTS: u32 = 2;
/// Memory that a worker is taken to use before one was measured, in bytes.
const FIRST_GUESS: u64 = 8 << 20;
const TICK: Duration = Duration::from_secs(1);
/// After so long without a program that starts or ends there is time to make workers.
const CALM: Duration = Duration::from_millis(3);

/// Warm interpreters of one engine.
#[derive(Debug)]
pub(crate) struct Warm {
    host: Weak<Host>,
    engine: Arc<Engine>,
    environment: PythonEnvironment,
    options: ZygoteOptions,
    tree: Tree,
    pools: Vec<ProfilePool>,
    /// What parked workers are made for.
    template: Mutex<Template>,
    /// Told when a worker may be missing.
    wanted: Notify,
    counts: Arc<ImportCounts>,
}

#[derive(Debug)]
struct ProfilePool {
    pool: Mutex<Pool<Parked>>,
    parked_served: AtomicU64,
    forked_served: AtomicU64,
    /// Memory of the worker that parked last.
    memory: AtomicU64,
}

/// A worker that waits for a program.
struct Parked {
    sandbox: Box<LocalSandbox>,
    memory: u64,
}

impl std::fmt::Debug for Parked {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Parked").field("memory", &self.memory).finish_non_exhaustive()
    }
}

/// The limits that parked workers are made with: those of the programs that come.
#[derive(Clone, Debug)]
struct Template {
    plan: ExecutionPlan,
    /// Its folders; nothing where they cannot be given.
    disk: Option<Disk>,
    /// Programs in a row that would not fit.
    misfits: u32,
}

/// The writable folders of a box, which are made with it and stay as they are.
type Disk = (ScratchBacking, DiskLimits);

/// Programs in a row that do not fit a template until it is theirs.
const MISFITS: u32 = 3;

impl Warm {
    /// Begins to make them. Must be called inside a runtime.
    pub(crate) fn start(
        host: &Arc<Host>,
        engine: &Arc<Engine>,
        execution: &ExecutionPlan,
        options: &ZygoteOptions,
    ) -> Arc<Self> {
        let environment = execution.environment.clone();
        let spec = ZygoteSpec {
            argv: [PYTHON, PROGRAM].map(str::to_owned).into(),
            env: zygote_variables(),
            scratch_links: scratch_links(&environment),
        };
        let installed = installed_modules(&environment.packages);
        // What a program may not import is not to be found among its modules either.
        let is_allowed = |module: &str, is_installed: bool| {
            let policy = execution.import_policy.as_ref();
            policy.is_none_or(|policy| policy.decide(module, !is_installed) == ImportDecision::Allowed)
        };
        let profiles = Profiles::new(options, installed, is_allowed);
        let pools = profiles.all().iter().map(|profile| ProfilePool {
            pool: Mutex::new(Pool::new(options.parked_min, options.parked_max, profile.parent.is_none())),
            parked_served: AtomicU64::new(0),
            forked_served: AtomicU64::new(0),
            memory: AtomicU64::new(FIRST_GUESS),
        });
        let pools = pools.collect();
        let disk = scratch(execution, host.tier, host.disks.is_ok()).ok().map(|planned| disk_of(&planned));
        let template = Template { plan: Template::of(execution), disk, misfits: 0 };
        let warm = Arc::new(Self {
            host: Arc::downgrade(host),
            engine: Arc::clone(engine),
            environment,
            options: options.clone(),
            tree: Tree::plant(engine, &spec, profiles, options),
            pools,
            template: Mutex::new(template),
            wanted: Notify::new(),
            counts: Arc::clone(&host.counts),
        });
        drop(tokio::spawn(look_after(Arc::downgrade(&warm))));
        // As many at the same time as leave room for what runs.
        for _maker in 0..cpus().div_ceil(2) {
            drop(tokio::spawn(make(Arc::downgrade(&warm))));
        }
        warm
    }

    /// A sandbox that has started the program of `execution`; nothing when it has to start cold.
    pub(crate) async fn launch(self: &Arc<Self>, execution: &ExecutionPlan) -> Option<LocalSandbox> {
        let host = self.host.upgrade()?;
        if execution.zygote == ZygoteMode::Off || !order::can_be_set_late(&execution.env) {
            return None;
        }
        let choice = self.tree.profiles.choose(&execution.imports);
        self.counts.add(&choice.missing);
        let planned = scratch(execution, host.tier, host.disks.is_ok()).ok()?;
        let (bytes, inodes) = needs(&execution.files);
        let limits = &planned.limits;
        let room = limits.disk_limit.bytes().min(limits.memory_limit.bytes() / 2) / 2;
        if bytes > room || inodes > limits.inode_limit / 2 {
            // A worker that could not write them would be lost, and the next one, too; init says what is wrong.
            return None;
        }
        let wanted = disk_of(&planned);
        self.learn(execution, wanted);
        let hand_out = async |mut sandbox: LocalSandbox, path, profile| {
            let start = self.start_of(path, profile);
            sandbox.check_out(&host, execution, planned.limits.clone(), start).await.ok()?;
            self.count(profile, path);
            self.wanted.notify_one();
            Some(sandbox)
        };
        // One that fails died while it waited, or cannot have these limits.
        while let Some(parked) = self.take(choice.profile, wanted) {
            if let Some(sandbox) = hand_out(*parked.sandbox, StartPath::Parked, choice.profile).await {
                return Some(sandbox);
            }
        }
        for _attempt in 0..ATTEMPTS {
            let (profile, zygote) = self.tree.nearest(choice.profile)?;
            let Ok(sandbox) = self.fork(&host, execution, &zygote, false).await else { continue };
            if let Some(sandbox) = hand_out(sandbox, StartPath::Forked, profile).await {
                return Some(sandbox);
            }
        }
        None
    }

    fn start_of(&self, path: StartPath, profile: usize) -> ProgramStart {
        let name = self.tree.profiles.all().get(profile).map(|profile| profile.name.clone());
        ProgramStart { path, profile: name }
    }

    fn count(&self, profile: usize, path: StartPath) {
        let Some(pool) = self.pools.get(profile) else { return };
        let counter = if path == StartPath::Parked { &pool.parked_served } else { &pool.forked_served };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets parked workers be made for programs like this one, once enough of them have come.
    fn learn(&self, execution: &ExecutionPlan, disk: Disk) {
        let mut template = lock(&self.template);
        if template.disk == Some(disk) {
            template.misfits = 0;
            return;
        }
        template.misfits += 1;
        if template.misfits >= MISFITS {
            template.misfits = 0;
            template.disk = Some(disk);
            template.plan.limits = execution.limits.clone();
            template.plan.disk_limit_is_default = execution.disk_limit_is_default;
        }
    }

    fn take(&self, profile: usize, wanted: Disk) -> Option<Parked> {
        let pool = self.pools.get(profile)?;
        lock(&pool.pool).take(|parked| parked.sandbox.disk() == wanted && parked.sandbox.is_alive())
    }

    /// A worker that was forked into a box of its own and is locked in.
    async fn fork(
        &self,
        host: &Arc<Host>,
        execution: &ExecutionPlan,
        zygote: &Arc<ReadyZygote>,
        rehearse: bool,
    ) -> Result<LocalSandbox, SandboxError> {
        let (engine, asked) = (Arc::clone(&self.engine), Arc::clone(zygote));
        // The cgroup is the box's, not the execution's: it may wait for another one.
        let plan = ExecutionPlan { id: ExecutionId::generate(), ..Template::of(execution) };
        let making = Arc::clone(host);
        let made = tokio::task::spawn_blocking(move || {
            making.make_box(&plan, Origin::Fork { engine: &engine, zygote: &asked, rehearse })
        });
        let parts = made.await.map_err(|error| failed("make a box", io::Error::other(error)))??;
        let mut sandbox = LocalSandbox::new(parts).map_err(|error| failed("watch a sandbox", error))?;
        loop {
            tokio::select! {
                parked = timeout(ZYGOTE_PATIENCE, sandbox.parked()) => match parked {
                    Ok(parked) => {
                        parked?;
                        zygote.note_answer();
                        return Ok(sandbox);
                    }
                    Err(_) if zygote.silence() < ZYGOTE_PATIENCE => {}
                    Err(_) => {
                        zygote.give_up();
                        return Err(failed("fork a zygote", io::Error::other("it does not answer")));
                    }
                },
                () = zygote.lost() => return Err(failed("fork a zygote", io::Error::other("it is gone"))),
            }
        }
    }

    /// The profile that a worker is to be made for next, which is begun; or for how long nobody is to be.
    ///
    /// While programs come and go, a pool is only kept from running dry: what makes a worker is what the programs need,
    /// and after them there is time.
    fn begin_next(&self) -> Result<usize, Duration> {
        let is_calm = self.host.upgrade().is_some_and(|host| is_calm(&host));
        let used: u64 = self.pools.iter().map(|pool| memory_of(&lock(&pool.pool))).sum();
        let mut is_deferred = false;
        for (profile, pool) in self.pools.iter().enumerate() {
            // It is taken to be like the last one.
            let each = pool.memory.load(Ordering::Relaxed);
            if self.tree.nodes().get(profile).is_none_or(|node| node.ready().is_none())
                || used.saturating_add(each) > self.options.parked_memory
            {
                continue;
            }
            let mut pool = lock(&pool.pool);
            if pool.missing() == 0 {
                continue;
            }
            if is_calm || pool.is_low() {
                pool.begin();
                return Ok(profile);
            }
            is_deferred = true;
        }
        Err(if is_deferred { CALM } else { TICK })
    }

    async fn park(&self, profile: usize) -> Result<Option<Parked>, SandboxError> {
        let Some(host) = self.host.upgrade() else { return Ok(None) };
        // A parent's worker would count as one of this profile, and be slower for its programs.
        let zygote = match self.tree.nearest(profile) {
            Some((found, zygote)) if found == profile => zygote,
            _ => return Ok(None),
        };
        let plan = lock(&self.template).plan.clone();
        let rehearse = is_calm(&host);
        let mut sandbox = self.fork(&host, &plan, &zygote, rehearse).await?;
        let memory = sandbox.memory().unwrap_or(FIRST_GUESS);
        if let Some(pool) = self.pools.get(profile) {
            pool.memory.store(memory, Ordering::Relaxed);
        }
        Ok(Some(Parked { sandbox: Box::new(sandbox), memory }))
    }

    /// Once a second: what is not needed goes, what is missing comes.
    fn tick(self: &Arc<Self>) {
        if let Some(Ok(disks)) = self.host.upgrade().map(|host| host.disks.clone()) {
            // The kernel takes its time to unmount.
            drop(tokio::task::spawn_blocking(move || disks.trim()));
        }
        for pool in &self.pools {
            let unwanted = {
                let mut pool = lock(&pool.pool);
                let mut unwanted = pool.tick();
                unwanted.extend(pool.remove(|parked| !parked.sandbox.is_alive()));
                unwanted
            };
            drop(unwanted);
        }
        self.wanted.notify_one();
    }

    /// Returns when every profile has been tried, and those that are there have had a moment to park workers.
    pub(crate) async fn ready(self: &Arc<Self>) {
        self.tree.tried().await;
        self.wanted.notify_waiters();
        let parked = async {
            while self.pools.iter().zip(self.tree.nodes()).any(|(pool, node)| {
                node.ready().is_some() && {
                    let pool = lock(&pool.pool);
                    pool.count() < pool.target()
                }
            }) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        // Whether they park or not is seen at the first program.
        drop(timeout(ZYGOTE_PATIENCE, parked).await);
    }

    /// Ends all parked workers, and makes no more.
    pub(crate) async fn drain(&self) {
        let parked: Vec<Parked> = self.pools.iter().flat_map(|pool| lock(&pool.pool).drain()).collect();
        for parked in parked {
            parked.sandbox.dismiss().await;
        }
    }

    pub(crate) fn report(&self) -> Vec<WarmProfile> {
        let profiles = self.tree.profiles.all().iter();
        profiles
            .zip(self.tree.nodes())
            .zip(&self.pools)
            .map(|((profile, node), pool)| {
                let (built, lost) = node.counts();
                let (parked, target) = {
                    let pool = lock(&pool.pool);
                    (pool.count(), pool.target())
                };
                WarmProfile {
                    name: profile.name.clone(),
                    environment: self.environment.name.clone(),
                    modules: profile.modules.clone(),
                    ready: node.ready().is_some(),
                    problem: node.problem(),
                    parked,
                    target,
                    built,
                    lost,
                    served_parked: pool.parked_served.load(Ordering::Relaxed),
                    served_forked: pool.forked_served.load(Ordering::Relaxed),
                }
            })
            .collect()
    }
}

impl Template {
    /// What matters of an execution for a box that it or another one will have.
    fn of(execution: &ExecutionPlan) -> ExecutionPlan {
        // In full, so that what a program brings is not copied for a box.
        ExecutionPlan {
            id: execution.id,
            code: Vec::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            limits: execution.limits.clone(),
            disk_limit_is_default: execution.disk_limit_is_default,
            environment: execution.environment.clone(),
            import_policy: execution.import_policy.clone(),
            imports: Vec::new(),
            zygote: execution.zygote,
            files: Vec::new(),
            output_files: None,
        }
    }
}

fn disk_of(planned: &ScratchPlan) -> Disk {
    (planned.backing, DiskLimits::of(&planned.limits))
}

/// Whether no program was started or ended in the last milliseconds. One that runs for longer may sleep.
fn is_calm(host: &Host) -> bool {
    host.activity.silence() >= CALM
}

fn memory_of(pool: &Pool<Parked>) -> u64 {
    pool.parked().map(|parked| parked.memory).sum()
}

async fn look_after(warm: Weak<Warm>) {
    loop {
        sleep(TICK).await;
        let Some(warm) = warm.upgrade() else { return };
        warm.tick();
    }
}

/// Makes workers until there are as many as there should be, and again when some are missing.
async fn make(warm: Weak<Warm>) {
    loop {
        let Some(warm) = warm.upgrade() else { return };
        match warm.begin_next() {
            Ok(profile) => {
                let made = warm.park(profile).await.ok().flatten();
                let failed = made.is_none();
                if let Some(pool) = warm.pools.get(profile) {
                    drop(lock(&pool.pool).end(made));
                }
                if failed {
                    // A zygote that was just lost: the next one takes a moment.
                    sleep(CALM).await;
                }
            }
            Err(pause) => drop(timeout(pause, warm.wanted.notified()).await),
        }
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// First parts of the names of the modules in a folder of packages.
fn installed_modules(packages: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(packages).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let first = name.split('.').next().unwrap_or_default().to_owned();
            // `name`, `name.py`, `name.cpython-311-x86_64-linux-gnu.so`; not `name-1.0.dist-info`.
            let is_module = !first.is_empty() && !first.contains('-') && first != "__pycache__";
            is_module.then_some(first)
        })
        .collect()
}
