//! One sandbox of the local backend, as the monitor sees it.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::Arc,
    time::Duration,
};

use aevatar_sandbox_contract::{
    CollectedFiles, ExecutionPlan, IsolationReport, ProgramEnd, ProgramStart, ResourceLimits, ResourceUsage,
    RunningSandbox, SandboxError, SandboxEvent, SandboxPipes, SkipReason, SkippedFile, StartPath,
};
use aevatar_sandbox_jail::{
    Engine, SandboxHandle, cgroup::SandboxCgroup, poll_now, protocol::SandboxMessage, protocol::ScratchUsage, seccomp,
    spec::ScratchBacking, zygote,
};
use rustix::{
    event::PollFlags,
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    process::{Signal, pidfd_send_signal},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::unix::pipe,
    time::timeout,
};

use crate::{
    backend::{Host, failed},
    boxes::{BoxFacts, DiskLimits, HeldDisk, LaunchedParts, cgroup_failed},
    collect::{Collection, collect, is_untouched},
    plan::{SandboxPlan, ScratchPlan, cgroup_limits, plan, zygote_differences},
    setup,
    uids::UidSlot,
    zygote::{Order, Pulse, is_set_late},
};

/// Notices of refused system calls that are taken; then the listener is closed, and a program that hammers a refused
/// call costs us nothing any more (the kernel then answers ENOSYS by itself).
const MAX_NOTICES: u32 = 64;

/// Tries, at most 10 ms apart, to remove a sandbox's cgroups: more than a second in all.
const REMOVAL_ATTEMPTS: u64 = 230;
/// How many of them come at once.
const YIELDS: u64 = 30;
/// Between later ones.
const REMOVAL_PAUSE: Duration = Duration::from_millis(500);

/// What may be left of the writable folders for them to count as full: this share of them, or this many bytes. A
/// filesystem with large folios refuses a whole one (2 MiB) when only a part of it fits.
const FULL_WITHIN_SHARE: u64 = 20;
const FULL_WITHIN_BYTES: u64 = 4 << 20;

/// How much longer than it may take the collection of files is waited for.
const COLLECTION_GRACE: Duration = Duration::from_secs(1);

/// How long a sandbox may take to its program: milliseconds, or seconds with a thousandth of a CPU. Past this something
/// is broken.
const START_PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct LocalSandbox {
    events: AsyncFd<HandleFd>,
    /// Pid 1 of the sandbox; nothing until it exists.
    init: Option<AsyncFd<OwnedFd>>,
    listener: Option<AsyncFd<OwnedFd>>,
    notices: u32,
    oom: Option<AsyncFd<OwnedFd>>,
    pipes: Option<SandboxPipes>,
    held: Option<Held>,
    /// CPU time that setting up took, which is not the program's.
    cpu_before: Duration,
    main_usage: Option<(Duration, Duration)>,
    scratch: Option<ScratchUsage>,
    events_closed: bool,
    kill_asked: bool,
    gone: bool,
    limits: ResourceLimits,
    isolation: IsolationReport,
    facts: BoxFacts,
    /// Where a forked worker gets its program, until it has one.
    checkout: Option<OwnedFd>,
    /// The folder `/work` where that is in memory.
    work: Option<OwnedFd>,
    /// What is collected of it at the end.
    collection: Option<Collection>,
    start: ProgramStart,
    /// What happened while the program was started, for the monitor.
    replayed: VecDeque<SandboxEvent>,
    activity: Arc<Pulse>,
}

/// What a sandbox says, as far as it is not only the monitor's business.
enum Occurrence {
    /// A forked worker is locked in and waits for its program.
    Parked,
    /// Something for the monitor.
    Event(SandboxEvent),
}

/// What a sandbox holds on the host until every process of it is dead.
struct Held {
    cgroup: Option<SandboxCgroup>,
    disk: Option<HeldDisk>,
    /// Not to be given to another sandbox before.
    uid: UidSlot,
    engine: Arc<Engine>,
}

impl Held {
    /// Gives everything back. The kernel lets go of the last process's cgroup a moment after it was reaped, and an
    /// abandoned sandbox is still dying, so it may take some tries. When it takes longer than a moment, that is an error,
    /// and it goes on behind: nothing of it, its uid neither, is used again before.
    async fn release(mut self, is_dead: bool) -> Result<(), SandboxError> {
        let disk = self.disk.take();
        let give_back = |disk: Option<HeldDisk>| {
            if let Some(disk) = disk {
                // Nobody needs to wait for it.
                drop(tokio::task::spawn_blocking(move || disk.give_back()));
            }
        };
        let Some(cgroup) = &mut self.cgroup else {
            give_back(disk.filter(|_| is_dead));
            return Ok(());
        };
        for attempt in 0..REMOVAL_ATTEMPTS {
            if cgroup.remove_now() {
                // Nobody is left who could write to it.
                give_back(disk);
                return Ok(());
            }
            // The launcher has still to reap pid 1: that takes it less than the shortest sleep.
            match attempt {
                ..YIELDS => tokio::task::yield_now().await,
                _ => tokio::time::sleep(Duration::from_millis((attempt - YIELDS).min(10))).await,
            }
        }
        drop(tokio::spawn(async move {
            while self.cgroup.as_mut().is_some_and(|cgroup| !cgroup.remove_now()) {
                tokio::time::sleep(REMOVAL_PAUSE).await;
            }
        }));
        Err(failed("remove a sandbox", io::Error::other("its cgroup stays busy")))
    }
}

struct HandleFd(SandboxHandle);

impl AsRawFd for HandleFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.socket().as_raw_fd()
    }
}

impl LocalSandbox {
    pub(crate) fn new(parts: LaunchedParts) -> io::Result<Self> {
        set_nonblocking(parts.handle.socket())?;
        let pipes = SandboxPipes {
            stdin: Box::new(pipe::Sender::from_owned_fd(parts.stdin)?),
            stdout: Box::new(pipe::Receiver::from_owned_fd(parts.stdout)?),
            stderr: Box::new(pipe::Receiver::from_owned_fd(parts.stderr)?),
            report: Box::new(pipe::Receiver::from_owned_fd(parts.report)?),
        };
        Ok(Self {
            events: watch(HandleFd(parts.handle))?,
            init: None,
            listener: None,
            notices: 0,
            oom: parts.oom_event.map(watch).transpose()?,
            pipes: Some(pipes),
            held: Some(Held { cgroup: parts.cgroup, disk: parts.disk, uid: parts.uid, engine: parts.engine }),
            cpu_before: Duration::ZERO,
            main_usage: None,
            scratch: None,
            events_closed: false,
            kill_asked: false,
            gone: false,
            limits: parts.limits,
            isolation: parts.isolation,
            facts: parts.facts,
            checkout: parts.checkout,
            work: None,
            collection: parts.collection,
            start: parts.start,
            replayed: VecDeque::new(),
            activity: parts.activity,
        })
    }

    fn cgroup(&self) -> Option<&SandboxCgroup> {
        self.held.as_ref()?.cgroup.as_ref()
    }

    /// Whoever closes the folder last frees what is in it, which takes its time.
    fn let_go_of_work(&mut self) {
        let Some(work) = self.work.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(work)));
        }
    }

    /// Whether all is dead but pid 1.
    fn is_pid_1_left(&self) -> bool {
        self.gone && self.init.as_ref().is_some_and(|init| poll_now(init.get_ref()).is_empty())
    }

    /// The folders that the box was made with.
    pub(crate) fn disk(&self) -> (ScratchBacking, DiskLimits) {
        (self.facts.backing, self.facts.disk_limits)
    }

    /// Whether a parked one can still be used.
    pub(crate) fn is_alive(&self) -> bool {
        let ended = |fd: &OwnedFd| !poll_now(fd).is_empty();
        !self.gone
            && !ended(self.events.get_ref().0.socket())
            && self.init.as_ref().is_some_and(|init| !ended(init.get_ref()))
    }

    /// Returns when the worker is locked in and waits for a program.
    pub(crate) async fn parked(&mut self) -> Result<(), SandboxError> {
        loop {
            match self.next().await? {
                Occurrence::Parked => {
                    // What was refused until here was the rehearsal's.
                    self.notices = 0;
                    return Ok(());
                }
                Occurrence::Event(SandboxEvent::Gone) => {
                    return Err(failed("fork a worker", io::Error::other("it ended before it was ready")));
                }
                Occurrence::Event(_) => {}
            }
        }
    }

    /// Gives the parked worker its program and the limits for it. Returns when the program has started.
    pub(crate) async fn check_out(
        &mut self,
        host: &Host,
        execution: &ExecutionPlan,
        limits: ResourceLimits,
        start: ProgramStart,
    ) -> Result<(), SandboxError> {
        let Some(held) = &mut self.held else { return Err(failed("start a program", io::ErrorKind::NotFound.into())) };
        if let Some(cgroup) = &mut held.cgroup {
            cgroup.check_out(cgroup_limits(&limits)).map_err(cgroup_failed)?;
        }
        let scratch = ScratchPlan { backing: self.facts.backing, limits };
        let SandboxPlan { spec, limits } = plan(execution, scratch, self.facts.abilities, held.uid.slot);
        let order = Order {
            args: &execution.args,
            env: zygote_differences(spec.env),
            limits: spec
                .process_limits
                .into_iter()
                .filter(|(limit, _)| is_set_late(*limit))
                .map(|(limit, value)| (limit.number(), value))
                .collect(),
            cpus: limits.cpu_limit.whole_cpus(),
            figures: execution.output_files.is_some(),
            source: execution.code.len(),
            files: execution.files.iter().map(|file| (file.path.as_str(), file.content.len())).collect(),
        };
        if let Some(disk) = &mut held.disk {
            disk.expect(&execution.files);
        }
        self.collection = Collection::of(execution);
        let program =
            order.to_file(&execution.code, &execution.files).map_err(|error| failed("hand over the program", error))?;
        let checkout = self.checkout.take().ok_or_else(|| failed("start a program", io::ErrorKind::NotFound.into()))?;
        zygote::hand_over(&checkout, &program).map_err(|error| failed("hand over the program", error))?;
        if self.limits != limits {
            self.isolation = host.isolation(&held.engine, &self.facts, &limits);
            if self.facts.is_unbounded {
                setup::note_unbounded_connections(&mut self.isolation);
            }
            self.limits = limits;
        }
        self.start = start;
        self.started().await
    }

    /// Returns when the program has started; what happened until then is told the monitor later.
    pub(crate) async fn started(&mut self) -> Result<(), SandboxError> {
        loop {
            match timeout(START_PATIENCE, self.next()).await {
                Ok(occurred) => match occurred? {
                    Occurrence::Event(SandboxEvent::Gone) => {
                        return Err(failed("start a program", io::Error::other("it ended before it began")));
                    }
                    Occurrence::Event(event) => {
                        let started = event == SandboxEvent::Started;
                        self.replayed.push_back(event);
                        if started {
                            return Ok(());
                        }
                    }
                    Occurrence::Parked => {}
                },
                Err(_) => return Err(failed("start a program", io::ErrorKind::TimedOut.into())),
            }
        }
    }

    /// Ends a parked one and removes what it holds.
    pub(crate) async fn dismiss(mut self) {
        self.kill();
        self.let_go_of_work();
        while !matches!(self.next().await, Ok(Occurrence::Event(SandboxEvent::Gone)) | Err(_)) {}
        if let Some(held) = self.held.take() {
            // What cannot be removed goes with the instance.
            drop(held.release(self.gone).await);
        }
    }

    /// Acts on one message; some are not the monitor's business.
    fn take_message(
        &mut self,
        message: SandboxMessage,
        fd: Option<OwnedFd>,
    ) -> Result<Option<Occurrence>, SandboxError> {
        match message {
            SandboxMessage::Created => {
                self.init = fd.map(watch).transpose().map_err(|error| failed("watch a sandbox", error))?;
                if self.kill_asked {
                    self.kill();
                }
                Ok(None)
            }
            SandboxMessage::ConnectionsUnbounded => {
                self.facts.is_unbounded = true;
                setup::note_unbounded_connections(&mut self.isolation);
                Ok(None)
            }
            SandboxMessage::SeccompListener => {
                self.listener = fd.map(watch).transpose().map_err(|error| failed("watch a sandbox", error))?;
                Ok(None)
            }
            SandboxMessage::Work => {
                self.work = fd;
                Ok(None)
            }
            SandboxMessage::Started => {
                if self.collection.is_none() {
                    // Nobody will look, and who closes it last frees what is in it.
                    self.work = None;
                }
                self.cpu_before = self.cgroup().and_then(SandboxCgroup::cpu_time).unwrap_or_default();
                Ok(Some(Occurrence::Event(SandboxEvent::Started)))
            }
            SandboxMessage::MainEnded { status, user_time, system_time, scratch } => {
                self.main_usage = Some((user_time, system_time));
                self.scratch = scratch;
                // As a rule nothing of a program outlives its main process: then pid 1 is all that is left, and it is
                // not waited for. Whoever else there is dies with it. A cold program is pid 1's to reap.
                let is_reaped = self.start.path != StartPath::Cold;
                self.gone = is_reaped && self.cgroup().and_then(SandboxCgroup::processes) == Some(1);
                let ended = SandboxEvent::MainEnded(program_end(status));
                // A main process may end at once when its child was killed: the kill came first.
                let is_signalled = self.oom.as_ref().is_some_and(|oom| !poll_now(oom.get_ref()).is_empty());
                if is_signalled && self.cgroup().is_some_and(|cgroup| cgroup.oom_kills() > 0) {
                    self.oom = None;
                    self.replayed.push_back(ended);
                    return Ok(Some(Occurrence::Event(SandboxEvent::OutOfMemory)));
                }
                Ok(Some(Occurrence::Event(ended)))
            }
            SandboxMessage::Parked => Ok(Some(Occurrence::Parked)),
            SandboxMessage::Failed(failure) => {
                self.kill();
                Err(setup::sandbox_failed(failure))
            }
        }
    }

    /// Waits for what happens next. Cancel-safe.
    async fn next(&mut self) -> Result<Occurrence, SandboxError> {
        loop {
            if self.gone {
                return Ok(Occurrence::Event(SandboxEvent::Gone));
            }
            // In this order: what a sandbox said before it ended is read before its end.
            let woken = tokio::select! {
                biased;
                message = self.events.async_io(Interest::READABLE, |handle| handle.0.receive()),
                    if !self.events_closed => Woken::Message(message),
                () = readable(self.listener.as_ref()) => Woken::Notice,
                () = out_of_memory(self.oom.as_ref()) => Woken::OutOfMemory,
                () = readable(self.init.as_ref()) => Woken::InitEnded,
            };
            match woken {
                Woken::Message(Ok(Some((message, fd)))) => {
                    if let Some(occurred) = self.take_message(message, fd)? {
                        return Ok(occurred);
                    }
                }
                Woken::Message(Ok(None)) if self.init.is_some() => self.events_closed = true,
                Woken::Message(Ok(None)) => {
                    self.gone = true;
                    return Err(failed("launch a sandbox", io::Error::other("the sandbox engine has ended")));
                }
                Woken::Message(Err(error)) => {
                    self.kill();
                    return Err(failed("hear from a sandbox", error));
                }
                Woken::Notice => {
                    if let Some(event) = self.take_notice() {
                        return Ok(Occurrence::Event(event));
                    }
                }
                Woken::OutOfMemory => {
                    // The kernel tells before it kills, and sometimes finds memory after all.
                    let killed = self.cgroup().is_some_and(|cgroup| cgroup.oom_kills() > 0);
                    if killed {
                        self.oom = None;
                        return Ok(Occurrence::Event(SandboxEvent::OutOfMemory));
                    }
                }
                // Between two polls of one wait, it may have spoken and died: its words come first.
                Woken::InitEnded => match self.events.get_ref().0.receive() {
                    Ok(Some((message, fd))) => {
                        if let Some(occurred) = self.take_message(message, fd)? {
                            return Ok(occurred);
                        }
                    }
                    Ok(None) | Err(_) => self.gone = true,
                },
            }
        }
    }

    /// Answers one refused system call.
    fn take_notice(&mut self) -> Option<SandboxEvent> {
        let listener = self.listener.as_ref()?;
        if !poll_now(listener.get_ref()).contains(PollFlags::IN) {
            // A hang-up: every process under the filter is dead. Reading now would block.
            self.listener = None;
            return None;
        }
        let refused = seccomp::refuse_next(listener.get_ref());
        self.notices += 1;
        if self.notices >= MAX_NOTICES {
            self.listener = None;
        }
        match refused {
            Ok(name) => Some(SandboxEvent::SyscallDenied(name.to_owned())),
            // The caller died meanwhile, or was interrupted.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => None,
            Err(_) => {
                self.listener = None;
                None
            }
        }
    }
}

/// A status as `waitpid` gives it: the low seven bits are the signal, the next byte is the exit code.
fn program_end(status: i32) -> ProgramEnd {
    match status & 0x7F {
        0 => ProgramEnd::Exited((status >> 8) & 0xFF),
        signal => ProgramEnd::Signalled(signal),
    }
}

/// What came of not looking at all.
fn nothing(reason: SkipReason) -> CollectedFiles {
    CollectedFiles { files: Vec::new(), skipped: vec![SkippedFile { path: ".".to_owned(), reason }] }
}

/// What woke the wait.
enum Woken {
    Message(io::Result<Option<(SandboxMessage, Option<OwnedFd>)>>),
    Notice,
    OutOfMemory,
    InitEnded,
}

#[async_trait::async_trait]
impl RunningSandbox for LocalSandbox {
    fn take_pipes(&mut self) -> Option<SandboxPipes> {
        self.pipes.take()
    }

    fn effective_limits(&self) -> &ResourceLimits {
        &self.limits
    }

    fn isolation(&self) -> &IsolationReport {
        &self.isolation
    }

    fn program_start(&self) -> ProgramStart {
        self.start.clone()
    }

    async fn next_event(&mut self) -> Result<SandboxEvent, SandboxError> {
        if let Some(event) = self.replayed.pop_front() {
            return Ok(event);
        }
        loop {
            if let Occurrence::Event(event) = self.next().await? {
                return Ok(event);
            }
        }
    }

    fn cpu_time(&mut self) -> Option<Duration> {
        self.cgroup()?.cpu_time().map(|total| total.saturating_sub(self.cpu_before))
    }

    fn memory(&mut self) -> Option<u64> {
        self.cgroup()?.memory()
    }

    fn kill(&mut self) {
        self.kill_asked = true;
        if let Some(cgroup) = self.cgroup() {
            cgroup.hurry_death();
        }
        if let Some(init) = &self.init {
            // ESRCH: it is dead already, and so is everything in its pid namespace.
            let _ = pidfd_send_signal(init.get_ref(), Signal::KILL);
        }
    }

    fn usage(&mut self) -> ResourceUsage {
        let mut usage =
            ResourceUsage { disk_bytes: self.scratch.map(|scratch| scratch.used_bytes), ..ResourceUsage::default() };
        if let Some(cgroup) = self.cgroup() {
            let counted = cgroup.usage();
            usage.cpu_time = counted.cpu_time.saturating_sub(self.cpu_before);
            usage.user_time = counted.user_time.min(usage.cpu_time);
            usage.system_time = usage.cpu_time.saturating_sub(usage.user_time);
            usage.peak_memory_bytes = counted.memory_peak;
            usage.oom_kills = counted.oom_kills;
            // Init is not the program's.
            usage.processes_peak =
                counted.pids_peak.map(|peak| u32::try_from(peak.saturating_sub(1)).unwrap_or(u32::MAX));
            usage.processes_refused = counted.pids_refused;
        } else if let Some((user, system)) = self.main_usage {
            (usage.user_time, usage.system_time, usage.cpu_time) = (user, system, user + system);
        }
        usage
    }

    fn disk_was_full(&self) -> bool {
        self.scratch.is_some_and(|scratch| {
            let total = scratch.used_bytes + scratch.free_bytes;
            scratch.free_inodes == 0 || scratch.free_bytes < FULL_WITHIN_BYTES.max(total / FULL_WITHIN_SHARE)
        })
    }

    async fn collect_files(&mut self) -> CollectedFiles {
        let Some(collection) = self.collection.take() else { return CollectedFiles::default() };
        let disk = self.held.as_ref().and_then(|held| held.disk.as_ref());
        let (work, is_in_memory) = match disk {
            Some(disk) => (disk.work().ok(), false),
            None => (self.work.take(), true),
        };
        let Some(work) = work else { return nothing(SkipReason::Unreadable) };
        if is_untouched(&work, &collection) {
            self.work = is_in_memory.then_some(work);
            return CollectedFiles::default();
        }
        let patience = Duration::from_millis(collection.limits.max_time_ms).saturating_add(COLLECTION_GRACE);
        let collecting = tokio::task::spawn_blocking(move || collect(&work, &collection));
        match timeout(patience, collecting).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => nothing(SkipReason::Unreadable),
            // The host's disk hangs. Who looks at it holds what it needs until it is done.
            Err(_) => nothing(SkipReason::TimedOut),
        }
    }

    async fn remove(mut self: Box<Self>) -> Result<(), SandboxError> {
        self.activity.note();
        self.let_go_of_work();
        let Some(held) = self.held.take() else { return Ok(()) };
        if self.is_pid_1_left() {
            // It ends by itself, which takes a moment that nobody needs to wait for.
            drop(tokio::spawn(held.release(true)));
            return Ok(());
        }
        held.release(self.gone).await
    }
}

impl Drop for LocalSandbox {
    fn drop(&mut self) {
        // Abandoned in the middle: whoever waited for it has gone.
        if self.held.is_none() {
            return;
        }
        // While the cgroup is still held: a kill raises its CPU limit.
        self.kill();
        self.let_go_of_work();
        let Some(held) = self.held.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // What it cannot remove goes with the instance's cgroup at the end; nobody is left to be told.
            drop(runtime.spawn(held.release(self.gone)));
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe for the sake of descriptors that change; an owned one does not")]
pub(crate) fn watch<T: AsRawFd>(fd: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// Returns when `fd` is readable; never without one. Cancel-safe, and leaves the readiness as it is: reading a listener
/// blocks when there is nothing, so what the runtime remembers is checked against the kernel.
async fn readable(fd: Option<&AsyncFd<OwnedFd>>) {
    let Some(fd) = fd else { return std::future::pending().await };
    loop {
        // An error means that the runtime is shutting down; then this future is dropped anyway.
        let Ok(mut guard) = fd.readable().await else { return std::future::pending().await };
        if !poll_now(fd.get_ref()).is_empty() {
            return guard.retain_ready();
        }
        guard.clear_ready();
    }
}

/// Returns a moment after the kernel has run out of the sandbox's memory, and again each moment after, as long as the
/// event is not consumed: whether somebody was killed shows only then.
async fn out_of_memory(event: Option<&AsyncFd<OwnedFd>>) {
    readable(event).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
}

fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&fd)?;
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(())
}
