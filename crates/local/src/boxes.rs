//! Making the box of one sandbox: its id, its disk, its cgroups, its streams, and the message that launches it.

use std::{io, os::fd::OwnedFd, path::PathBuf, sync::Arc};

use aevatar_sandbox_contract::{
    ErrorCode, ExecutionPlan, InputFile, IsolationReport, IsolationTier, ProgramStart, ResourceLimits, SandboxError,
};
use aevatar_sandbox_jail::{
    Engine, LaunchFds, ProgramFds, SandboxHandle,
    cgroup::{CgroupError, SandboxCgroup},
    disk::{Disk, DiskError, DiskImages},
    source::pack,
    spec::{Identity, ScratchBacking},
    zygote,
};
use rustix::{
    fs::{Gid, Uid, fchown},
    pipe::{PipeFlags, pipe_with},
};

use crate::{
    backend::{Host, failed},
    collect::Collection,
    layout::{FIGURES, input_files, scratch_files},
    plan::{HostAbilities, ScratchPlan, cgroup_limits, may_draw, plan, scratch},
    setup::{self, Layers},
    uids::UidSlot,
    zygote::{Pulse, ReadyZygote, is_set_late},
};

/// Where the program's process of a box comes from.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// Init executes the interpreter with the program.
    Cold,
    /// A zygote forks a worker, which gets the program later.
    Fork {
        engine: &'a Arc<Engine>,
        zygote: &'a ReadyZygote,
        /// Whether the worker touches, before it parks, what programs touch.
        rehearse: bool,
    },
}

/// A launched sandbox with the server's ends of everything.
#[derive(Debug)]
pub(crate) struct LaunchedParts {
    /// Keeps the engine alive.
    pub(crate) engine: Arc<Engine>,
    pub(crate) handle: SandboxHandle,
    pub(crate) cgroup: Option<SandboxCgroup>,
    pub(crate) oom_event: Option<OwnedFd>,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) report: OwnedFd,
    /// Where a forked worker gets its program.
    pub(crate) checkout: Option<OwnedFd>,
    /// The disk, held until the sandbox is removed.
    pub(crate) disk: Option<HeldDisk>,
    pub(crate) uid: UidSlot,
    pub(crate) facts: BoxFacts,
    pub(crate) limits: ResourceLimits,
    pub(crate) isolation: IsolationReport,
    pub(crate) start: ProgramStart,
    /// What is to be collected of a program that has started; a worker's is told at its check-out.
    pub(crate) collection: Option<Collection>,
    pub(crate) activity: Arc<Pulse>,
}

/// What is known of a box for good, whichever program it gets.
#[derive(Clone, Debug)]
pub(crate) struct BoxFacts {
    pub(crate) backing: ScratchBacking,
    pub(crate) disk_limits: DiskLimits,
    pub(crate) no_disk: Option<String>,
    pub(crate) abilities: HostAbilities,
    /// Whether the kernel does not bound how many connections wait for `accept`.
    pub(crate) is_unbounded: bool,
}

/// The limits that a box is made with and keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskLimits {
    bytes: u64,
    inodes: u64,
}

impl DiskLimits {
    pub(crate) const fn of(limits: &ResourceLimits) -> Self {
        Self { bytes: limits.disk_limit.bytes(), inodes: limits.inode_limit }
    }
}

/// A disk, and to whom it is given back.
#[derive(Debug)]
pub(crate) struct HeldDisk {
    disk: Disk,
    disks: DiskImages,
    /// What the engine itself puts there.
    files: Vec<PathBuf>,
}

impl HeldDisk {
    /// The folder that the sandbox sees as `/work`.
    pub(crate) fn work(&self) -> io::Result<OwnedFd> {
        self.disk.work()
    }

    /// Tells which files a program brings, so that they do not count as something that it left.
    pub(crate) fn expect(&mut self, inputs: &[InputFile]) {
        self.files.splice(0..0, input_files(inputs));
    }

    /// Gives it back, when all that could write to it is dead. Takes the kernel up to a millisecond.
    pub(crate) fn give_back(self) {
        self.disks.give_back(self.disk, &self.files);
    }
}

/// A plan, the disk and a mount of it if there is one, and why there is none where there could be one.
type PlannedDisk = (ScratchPlan, Option<(HeldDisk, OwnedFd)>, Option<String>);

/// What [`Host::make_resources`] makes.
struct Resources {
    scratch_plan: ScratchPlan,
    disk: Option<(HeldDisk, OwnedFd)>,
    no_disk: Option<String>,
    cgroup: Option<SandboxCgroup>,
    joins: Vec<OwnedFd>,
    oom_event: Option<OwnedFd>,
}

impl Host {
    /// Everything up to the message that launches the sandbox. Blocks for milliseconds.
    pub(crate) fn make_box(
        self: &Arc<Self>,
        execution: &ExecutionPlan,
        origin: Origin<'_>,
    ) -> Result<LaunchedParts, SandboxError> {
        if let (Err(error), IsolationTier::Default) = (self.cgroups(), self.tier) {
            return Err(setup::no_cgroups(error));
        }
        let uid = self.uids.take()?;
        let (engine, resources) = match origin {
            Origin::Fork { engine, .. } => (Ok(Arc::clone(engine)), self.make_resources(execution, &uid, false)),
            // What starts an engine and what makes a disk and cgroups wait for the kernel at different places.
            Origin::Cold => std::thread::scope(|scope| {
                let resources = scope.spawn(|| self.make_resources(execution, &uid, true));
                let engine = self.running(execution).map(|running| Arc::clone(&running.engine));
                let panicked = |_| Err(failed("make a disk and cgroups", io::Error::other("a thread panicked")));
                (engine, resources.join().unwrap_or_else(panicked))
            }),
        };
        let engine = engine?;
        let report = engine.report();
        if let (Some(failure), IsolationTier::Default) = (&report.proc_failure, self.tier) {
            return Err(setup::no_proc(failure));
        }
        let Resources { scratch_plan, disk, no_disk, cgroup, joins, oom_event } = resources?;
        let (disk, scratch) = disk.unzip();
        let abilities = HostAbilities {
            identity: self.identity,
            cgroups: cgroup.is_some(),
            proc: report.proc_failure.is_none(),
            landlock: report.landlock_abi > 0,
        };
        let mut sandbox = plan(execution, scratch_plan, abilities, uid.slot);
        let facts = BoxFacts {
            backing: sandbox.spec.scratch,
            disk_limits: DiskLimits::of(&sandbox.limits),
            no_disk,
            abilities,
            is_unbounded: false,
        };
        let isolation = self.isolation(&engine, &facts, &sandbox.limits);

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
        let (program, checkout) = match origin {
            Origin::Cold => {
                let files: Vec<(&str, &[u8])> =
                    execution.files.iter().map(|file| (file.path.as_str(), file.content.as_slice())).collect();
                let source = pack(&execution.code, &files).map_err(|error| failed("hand over the program", error))?;
                if execution.output_files.is_some() && may_draw(execution) {
                    sandbox.spec.env.push((FIGURES.to_owned(), "1".to_owned()));
                }
                (ProgramFds::Source(source), None)
            }
            Origin::Fork { zygote, rehearse, .. } => {
                sandbox.spec.argv.clear();
                sandbox.spec.env.clear();
                sandbox.spec.process_limits.retain(|(limit, _)| !is_set_late(*limit));
                sandbox.spec.rehearse = rehearse;
                let asked = zygote.ask().map_err(|error| failed("ask a zygote", error))?;
                let (ours, theirs) = zygote::checkout().map_err(|error| failed("make a socket", error))?;
                // The kernel lets only the owner of a cgroup fork into it. Root's is not the zygote's.
                let own = cgroup.as_ref().filter(|_| matches!(self.identity, Identity::Own { .. }));
                let folder = own.map(SandboxCgroup::folder).transpose().map_err(cgroup_failed)?.flatten();
                (ProgramFds::Fork { zygote: asked, checkout: theirs, cgroup: folder }, Some(ours))
            }
        };
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
            checkout,
            disk,
            uid,
            facts,
            limits: sandbox.limits,
            isolation,
            start: ProgramStart::COLD,
            collection: match origin {
                Origin::Cold => Collection::of(execution),
                Origin::Fork { .. } => None,
            },
            activity: Arc::clone(&self.activity),
        })
    }

    /// What stands between the host and a program with `limits` in a box of `engine`.
    pub(crate) fn isolation(&self, engine: &Engine, facts: &BoxFacts, limits: &ResourceLimits) -> IsolationReport {
        Layers {
            tier: self.tier,
            identity: self.identity,
            engine: engine.report(),
            cgroups: self.cgroups().map(|_| ()),
            scratch: facts.backing,
            limits,
            no_disk: facts.no_disk.clone(),
        }
        .report()
    }

    /// What a sandbox needs that does not depend on the engine: the disk it writes to and the cgroups with its limits,
    /// the CPU's `now` or at its check-out.
    fn make_resources(&self, execution: &ExecutionPlan, uid: &UidSlot, now: bool) -> Result<Resources, SandboxError> {
        let (scratch_plan, disk, no_disk) = self.make_disk(execution, uid)?;
        let limits = cgroup_limits(&scratch_plan.limits);
        let create = if now { SandboxCgroup::create } else { SandboxCgroup::create_for_later };
        let cgroup = self
            .cgroups()
            .ok()
            .map(|instance| create(instance, &execution.id.to_string(), limits))
            .transpose()
            .map_err(cgroup_failed)?;
        let joins = cgroup.as_ref().map(SandboxCgroup::join_files).transpose().map_err(cgroup_failed)?;
        let oom_event = cgroup.as_ref().map(SandboxCgroup::oom_event).transpose().map_err(cgroup_failed)?.flatten();
        Ok(Resources { scratch_plan, disk, no_disk, cgroup, joins: joins.unwrap_or_default(), oom_event })
    }

    /// The disk. A host that turns out to give none is planned for again without; a host whose disk is full is an
    /// error.
    fn make_disk(&self, execution: &ExecutionPlan, uid: &UidSlot) -> Result<PlannedDisk, SandboxError> {
        let planned = scratch(execution, self.tier, self.disks.is_ok())?;
        let disks = match (&self.disks, planned.backing) {
            (Ok(disks), ScratchBacking::Mount) => disks,
            (Ok(_), ScratchBacking::Tmpfs { .. }) => return Ok((planned, None, None)),
            (Err(reason), _) => return Ok((planned, None, Some(reason.clone()))),
        };
        let limits = &planned.limits;
        match disks.create(limits.disk_limit.bytes(), limits.inode_limit, self.identity.host_uid(uid.slot)) {
            Ok((disk, mount)) => {
                let mut held = HeldDisk { disk, disks: disks.clone(), files: scratch_files(&execution.environment) };
                held.expect(&execution.files);
                Ok((planned, Some((held, mount)), None))
            }
            // A default may be lowered; what was asked for is given or refused.
            Err(error @ DiskError::HostFull { .. }) if !execution.disk_limit_is_default => {
                Err(SandboxError::new(ErrorCode::LimitNotEnforceable, error.to_string())
                    .with_hint("free some space, or ask for a smaller disk limit"))
            }
            Err(error) => Ok((scratch(execution, self.tier, false)?, None, Some(error.to_string()))),
        }
    }
}

pub(crate) fn cgroup_failed(error: CgroupError) -> SandboxError {
    let hint = error.hint();
    failed("limit a sandbox", io::Error::other(error)).with_hint(hint)
}
