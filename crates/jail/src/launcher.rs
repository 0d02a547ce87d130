//! Pid 1 of the engine's pid namespace, root of the engine's user namespace: makes one init per sandbox.
//!
//! Its memory is small and it has one thread, so cloning it is cheap. It decides nothing and knows no sandbox after
//! it was launched: the server holds each sandbox's pidfd and kills by it. When the launcher dies, the kernel kills
//! every sandbox.

use std::{
    collections::HashMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::epoll::{self, Event, EventData, EventFlags},
    fs::{Mode, OFlags, openat},
    io::Errno,
    net::RecvFlags,
    process::{DumpableBehavior, Pid, Signal, set_dumpable_behavior, set_parent_process_death_signal},
};

use crate::{
    engine::{LaunchFds, ProgramFds},
    failure::{During, SetupFailure, SetupStep},
    init,
    layers::{self, Layer},
    privileges,
    protocol::{
        EngineRequest, EngineStart, LaunchRequest, MainEnd, SandboxMessage, pair, receive, receive_raw, send, send_raw,
    },
    readiness::poll_now,
    root::{self, Sources},
    spec::{EngineReport, EngineSpec, INNER_ID, ZygoteSpec},
    sys::{
        clone::{self, Cloned},
        landlock, signals,
    },
    wire, zygote,
};

/// Namespaces of one sandbox. The cgroup namespace comes later, when init is in its cgroup.
const SANDBOX_NAMESPACES: [(Layer, i32); 5] = [
    (Layer::UserNamespace, libc::CLONE_NEWUSER),
    (Layer::PidNamespace, libc::CLONE_NEWPID),
    (Layer::NetworkNamespace, libc::CLONE_NEWNET),
    (Layer::IpcNamespace, libc::CLONE_NEWIPC),
    (Layer::UtsNamespace, libc::CLONE_NEWUTS),
];

fn sandbox_namespaces() -> i32 {
    let own = SANDBOX_NAMESPACES.into_iter().filter(|(layer, _)| layers::is_on(*layer));
    own.fold(libc::CLONE_NEWNS, |flags, (_, flag)| flags | flag)
}

/// The life of the launcher. `go` tells that the ids are mapped; `sources` are what the keeper could open that the
/// launcher cannot, or nothing when the launcher is to open them.
pub(crate) fn run(spec: &EngineSpec, control: &OwnedFd, go: &OwnedFd, sources: Option<Sources>) -> ! {
    let _ = rustix::thread::set_name(c"sandbox-launch");
    match start(spec, go, sources) {
        Ok((report, host_proc)) => {
            if send(control, &EngineStart::Ready(report), &[]).is_ok() {
                serve(control, &host_proc);
            }
            clone::exit_now(0)
        }
        Err(failure) => {
            let _ = send(control, &EngineStart::Failed(failure), &[]);
            clone::exit_now(1)
        }
    }
}

/// Where ids of new user namespaces are written.
struct ProcFiles {
    folder: OwnedFd,
    /// Whether `folder` is a /proc of the engine's own pid namespace; else it is the host's, where processes have
    /// other numbers.
    own: bool,
}

fn start(spec: &EngineSpec, go: &OwnedFd, sources: Option<Sources>) -> Result<(EngineReport, ProcFiles), SetupFailure> {
    let mut byte = [0_u8];
    if !matches!(rustix::io::retry_on_intr(|| rustix::io::read(go, &mut byte)), Ok(1)) {
        return Err(SetupFailure::new(SetupStep::MapIdentity, "engine", Errno::CANCELED));
    }
    privileges::become_id(0).during(SetupStep::SetIdentity, 0)?;
    // After the change of ids, which clears it. The keeper has one thread, so its death is the thread's.
    set_parent_process_death_signal(Some(Signal::KILL)).during(SetupStep::Channel, "death of the keeper")?;
    // It may have died before that, and a new pid namespace does not show whose child one is. The end of its pipe does.
    if !poll_now(go).is_empty() {
        return Err(SetupFailure::new(SetupStep::Channel, "death of the keeper", Errno::PIPE));
    }
    // A change of ids also makes a process undumpable, and then nobody may write the id maps of its children.
    set_dumpable_behavior(DumpableBehavior::Dumpable).during(SetupStep::SetIdentity, "dumpable")?;

    let proc_flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let host = rustix::fs::open("/proc", proc_flags, Mode::empty()).during(SetupStep::OpenSource, "/proc")?;
    let sources = match sources {
        Some(sources) => sources,
        None => root::open_sources(&spec.root)?,
    };
    let proc_failure = root::enter(&spec.root, sources)?;
    let proc_files = if proc_failure.is_none() {
        let folder = rustix::fs::open("/proc", proc_flags, Mode::empty()).during(SetupStep::MountProc, "/proc")?;
        ProcFiles { folder, own: true }
    } else {
        ProcFiles { folder: host, own: false }
    };
    Ok((EngineReport { proc_failure, landlock_abi: landlock::abi() }, proc_files))
}

/// Ends of children that are taken before other events are looked at.
const REAPED_AT_ONCE: u32 = 128;
/// Ends that are kept for a zygote to claim: more than there can be workers that are being made.
const MOST_STRANGERS: usize = 4096;

/// What the launcher knows of a sandbox while its init lives.
struct Sandbox {
    init: OwnedFd,
    init_pid: Pid,
    /// The launcher's end of the socket to init, on which the zygote tells which process it forked; nothing once all who
    /// could say anything there are gone.
    life: Option<OwnedFd>,
    /// The forked worker, in the launcher's numbers.
    worker: Option<Pid>,
}

/// What an event of the launcher's is about, with the number of a sandbox.
#[derive(Clone, Copy)]
enum Source {
    Control,
    Children,
    Init(u64),
    Life(u64),
}

impl Source {
    const fn token(self) -> EventData {
        EventData::new_u64(match self {
            Self::Control => 0,
            Self::Children => 1,
            Self::Init(number) => number << 2 | 2,
            Self::Life(number) => number << 2 | 3,
        })
    }

    const fn from_token(token: u64) -> Self {
        match (token, token & 3) {
            (0, _) => Self::Control,
            (_, 2) => Self::Init(token >> 2),
            (_, 3) => Self::Life(token >> 2),
            _ => Self::Children,
        }
    }
}

/// The launcher's state: one owner, one loop.
struct Launcher<'a> {
    control: &'a OwnedFd,
    /// Readable when a child has ended.
    children: OwnedFd,
    proc_files: &'a ProcFiles,
    events: OwnedFd,
    sandboxes: HashMap<u64, Sandbox>,
    next: u64,
    /// Workers that ended before their zygote could tell whose they are.
    strangers: HashMap<Pid, MainEnd>,
    has_zygote: bool,
}

/// Launches what it is asked to until the server is gone.
fn serve(control: &OwnedFd, proc_files: &ProcFiles) {
    let Ok(events) = epoll::create(epoll::CreateFlags::CLOEXEC) else { return };
    let Ok(children) = signals::ended_children() else { return };
    for (fd, source) in [(control, Source::Control), (&children, Source::Children)] {
        if epoll::add(&events, fd, source.token(), EventFlags::IN).is_err() {
            return;
        }
    }
    let mut launcher = Launcher {
        control,
        children,
        proc_files,
        events,
        sandboxes: HashMap::new(),
        next: 1,
        strangers: HashMap::new(),
        has_zygote: false,
    };
    while launcher.step() {}
}

impl Launcher<'_> {
    /// Waits and acts once; false at the end.
    fn step(&mut self) -> bool {
        let mut occurred = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 64];
        let count = match epoll::wait(&self.events, &mut occurred, None) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(_) => return false,
        };
        for event in occurred.iter().take(count) {
            match Source::from_token(event.data.u64()) {
                Source::Control => {
                    if !self.obey() {
                        return false;
                    }
                }
                Source::Life(number) => self.hear(number),
                Source::Init(number) => self.forget(number),
                Source::Children => self.reap(),
            }
        }
        true
    }

    /// Takes every child that ended: inits, workers, zygotes, and orphans of the engine's namespace.
    fn reap(&mut self) {
        // Some at a time: who makes children end quickly must not keep the rest waiting.
        for _child in 0..REAPED_AT_ONCE {
            let Some(end) = clone::take_ended() else {
                // Only that there was a signal counts; one that comes now is seen next time.
                let _ = rustix::io::read(&self.children, &mut [0_u8; 128]);
                return;
            };
            let told = MainEnd::from(end);
            let owner = self.sandboxes.values().find(|sandbox| sandbox.worker == Some(end.pid));
            match owner {
                Some(sandbox) => sandbox.tell(&told),
                None if self.sandboxes.values().any(|sandbox| sandbox.init_pid == end.pid) => {}
                // Only worth keeping while a zygote may still say whose it was.
                None if self.sandboxes.values().any(Sandbox::awaits_worker) => {
                    if self.strangers.len() < MOST_STRANGERS {
                        self.strangers.insert(end.pid, told);
                    }
                }
                None => self.strangers.clear(),
            }
        }
    }

    /// Does what the server asks; false when that is to end, or when it is gone.
    fn obey(&mut self) -> bool {
        match receive::<EngineRequest>(self.control) {
            Ok(Some((EngineRequest::Launch(request), fds))) => self.launch(&request, fds),
            Ok(Some((EngineRequest::StartZygote(spec), fds))) => self.start_zygote(&spec, fds),
            Ok(Some((EngineRequest::End, _)) | None) | Err(_) => return false,
        }
        true
    }

    /// Hears from a zygote which process is the worker of a sandbox.
    fn hear(&mut self, number: u64) {
        let Some(sandbox) = self.sandboxes.get_mut(&number) else { return };
        let Some(life) = &sandbox.life else { return };
        let mut bytes = [0_u8; 4];
        match receive_raw(life, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((4, fds)) => {
                let (Some(pid), Some(worker)) = (Pid::from_raw(i32::from_le_bytes(bytes)), fds.first()) else { return };
                sandbox.worker = Some(pid);
                // Somebody of that number may have ended long ago: numbers come around. What counts is this process.
                let earlier = self.strangers.remove(&pid);
                if let (Some(end), false) = (earlier, poll_now(worker).is_empty()) {
                    sandbox.tell(&end);
                }
            }
            Ok((0, _)) => {
                let _ = epoll::delete(&self.events, life);
                sandbox.life = None;
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// The init of a sandbox has ended, and with it everything in it.
    fn forget(&mut self, number: u64) {
        // What the zygote said before is read before.
        self.hear(number);
        if let Some(sandbox) = self.sandboxes.remove(&number) {
            let _ = epoll::delete(&self.events, &sandbox.init);
            if let Some(life) = &sandbox.life {
                let _ = epoll::delete(&self.events, life);
            }
        }
    }

    /// Makes one sandbox's init. What goes wrong is told on the sandbox's own socket.
    fn launch(&mut self, request: &LaunchRequest, fds: Vec<OwnedFd>) {
        let Some(fds) = LaunchFds::from_message(fds, request) else { return };
        let tell = |failure| {
            let _ = send(&fds.events, &SandboxMessage::Failed(failure), &[]);
        };
        let (life, inits) = match pair() {
            Ok(pair) => pair,
            Err(errno) => return tell(SetupFailure::new(SetupStep::Channel, "socket", errno)),
        };
        let (init_pid, pidfd) = match clone::clone_process(sandbox_namespaces()) {
            Ok(Cloned::Child) => init::run(&request.spec, fds, inits),
            Ok(Cloned::Parent(pid, pidfd)) => {
                let mapped = map_identity(pid, &pidfd, request.spec.uid_slot, self.proc_files)
                    .during(SetupStep::MapIdentity, "user namespace of the sandbox")
                    .and_then(|()| {
                        send(&fds.events, &SandboxMessage::Created, &[pidfd.as_fd()])
                            .during(SetupStep::Channel, "events")
                    });
                match mapped {
                    Ok(()) => {
                        let _ = rustix::io::write(&life, &[1]);
                    }
                    Err(failure) => tell(failure),
                }
                (pid, pidfd)
            }
            Err(errno) => {
                return tell(SetupFailure::new(SetupStep::CreateNamespaces, "user, pid, mount, net, ipc, uts", errno));
            }
        };
        let number = self.next;
        self.next += 1;
        let watched = epoll::add(&self.events, &pidfd, Source::Init(number).token(), EventFlags::IN)
            .and_then(|()| epoll::add(&self.events, &life, Source::Life(number).token(), EventFlags::IN));
        if let Err(errno) = watched {
            tell(SetupFailure::new(SetupStep::Channel, "epoll", errno));
        }
        self.sandboxes.insert(number, Sandbox { init: pidfd, init_pid, life: Some(life), worker: None });
    }

    /// Makes the process of a zygote. What becomes of it is told on its own socket.
    fn start_zygote(&mut self, spec: &ZygoteSpec, fds: Vec<OwnedFd>) {
        let Some(socket) = fds.into_iter().next() else { return };
        if !self.has_zygote {
            // Far from the numbers that its workers have in their boxes: OpenSSL and tempfile notice a fork by that. If
            // it cannot be done, a zygote that got such a number says so and ends.
            let _ = write_proc(&self.proc_files.folder, "sys/kernel/ns_last_pid", "1000");
            self.has_zygote = true;
        }
        let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC;
        match clone::clone_process(namespaces) {
            Ok(Cloned::Child) => zygote::run(spec, socket),
            Ok(Cloned::Parent(_, pidfd)) => {
                let _ = send_raw(&socket, &[wire::MADE], &[pidfd.as_fd()]);
            }
            Err(errno) => {
                let failure = SetupFailure::new(SetupStep::CreateNamespaces, "zygote", errno).to_string();
                let _ = send_raw(&socket, &[&[wire::BROKEN], failure.as_bytes()].concat(), &[]);
            }
        }
    }
}

impl Sandbox {
    const fn awaits_worker(&self) -> bool {
        self.life.is_some() && self.worker.is_none()
    }

    /// Tells init how the worker ended.
    fn tell(&self, end: &MainEnd) {
        if let Some(life) = &self.life {
            // An init that is gone needs no telling.
            let _ = send(life, end, &[]);
        }
    }
}

/// Maps the sandbox's one id to `slot` of the engine's.
fn map_identity(pid: Pid, pidfd: &OwnedFd, slot: u32, proc_files: &ProcFiles) -> Result<(), Errno> {
    if !layers::is_on(Layer::UserNamespace) {
        return Ok(());
    }
    let number = if proc_files.own { pid.as_raw_nonzero().get() } else { pid_in(&proc_files.folder, pidfd)? };
    let line = format!("{INNER_ID} {slot} 1\n");
    // Without this an unprivileged group map would allow to drop a group that forbids something (CVE-2014-8989).
    write_proc(&proc_files.folder, &format!("{number}/setgroups"), "deny")?;
    write_proc(&proc_files.folder, &format!("{number}/gid_map"), &line)?;
    write_proc(&proc_files.folder, &format!("{number}/uid_map"), &line)
}

/// The process behind `pidfd` as the pid namespace of `proc_folder` numbers it.
fn pid_in(proc_folder: &OwnedFd, pidfd: &OwnedFd) -> Result<i32, Errno> {
    use std::os::fd::AsRawFd;
    let path = format!("self/fdinfo/{}", pidfd.as_raw_fd());
    let file = openat(proc_folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut content = [0_u8; 1024];
    let length = rustix::io::read(&file, &mut content)?;
    std::str::from_utf8(content.get(..length).unwrap_or_default())
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("Pid:")))
        .and_then(|number| number.trim().parse().ok())
        .filter(|number| *number > 0)
        .ok_or(Errno::SRCH)
}

/// Writes a file below a /proc folder in one call, as id maps must be.
pub(crate) fn write_proc(folder: impl AsFd, path: &str, content: &str) -> Result<(), Errno> {
    let file = openat(folder, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, content.as_bytes()).map(|_| ())
}

impl LaunchFds {
    /// In the order in which [`LaunchFds::all`] gives them.
    fn from_message(fds: Vec<OwnedFd>, request: &LaunchRequest) -> Option<Self> {
        let mut fds = fds.into_iter();
        Some(Self {
            events: fds.next()?,
            program: if request.forked {
                ProgramFds::Fork {
                    zygote: fds.next()?,
                    checkout: fds.next()?,
                    cgroup: if request.into_cgroup { Some(fds.next()?) } else { None },
                }
            } else {
                ProgramFds::Source(fds.next()?)
            },
            stdin: fds.next()?,
            stdout: fds.next()?,
            stderr: fds.next()?,
            report: fds.next()?,
            cgroups: fds.by_ref().take(request.cgroups).collect(),
            scratch: fds.next(),
        })
    }

    /// All of them, in the order of the message.
    pub(crate) fn all(&self) -> Vec<BorrowedFd<'_>> {
        let program = match &self.program {
            ProgramFds::Source(source) => vec![source],
            ProgramFds::Fork { zygote, checkout, cgroup } => [zygote, checkout].into_iter().chain(cgroup).collect(),
        };
        let single = [&self.stdin, &self.stdout, &self.stderr, &self.report];
        [&self.events]
            .into_iter()
            .chain(program)
            .chain(single)
            .chain(&self.cgroups)
            .chain(&self.scratch)
            .map(AsFd::as_fd)
            .collect()
    }
}
