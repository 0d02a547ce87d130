//! Pid 1 of the engine's pid namespace, root of the engine's user namespace: makes one init per sandbox.
//!
//! Its memory is small and it has one thread, so cloning it is cheap. It decides nothing and knows no sandbox after
//! it was launched: the server holds each sandbox's pidfd and kills by it. When the launcher dies, the kernel kills
//! every sandbox.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags, openat},
    io::Errno,
    process::{
        DumpableBehavior, Pid, Signal, WaitOptions, set_dumpable_behavior, set_parent_process_death_signal, wait,
    },
};

use crate::{
    engine::LaunchFds,
    failure::{During, SetupFailure, SetupStep},
    init,
    layers::{self, Layer},
    privileges,
    protocol::{EngineRequest, EngineStart, LaunchRequest, SandboxMessage, receive, send},
    readiness::poll_now,
    root::{self, Sources},
    spec::{EngineReport, EngineSpec, INNER_ID},
    sys::{
        clone::{self, Cloned},
        landlock,
    },
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

/// Launches what it is asked to until the server is gone.
fn serve(control: &OwnedFd, proc_files: &ProcFiles) {
    let mut inits: Vec<OwnedFd> = Vec::new();
    loop {
        let mut polled: Vec<PollFd<'_>> = inits.iter().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)).collect();
        polled.push(PollFd::new(control, PollFlags::IN));
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        let ended: Vec<bool> = polled.iter().map(|entry| !entry.revents().is_empty()).collect();
        let asked = ended.last().copied().unwrap_or(false);
        let mut ended = ended.into_iter();
        inits.retain(|_| !ended.next().unwrap_or(false));
        // Every child that ended, orphans of the engine's namespace included.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        if asked {
            match receive::<EngineRequest>(control) {
                Ok(Some((EngineRequest::Launch(request), fds))) => inits.extend(launch(&request, fds, proc_files)),
                Ok(Some((EngineRequest::End, _)) | None) | Err(_) => return,
            }
        }
    }
}

/// Makes one sandbox's init. What goes wrong is told on the sandbox's own socket.
fn launch(request: &LaunchRequest, fds: Vec<OwnedFd>, proc_files: &ProcFiles) -> Option<OwnedFd> {
    let fds = LaunchFds::from_message(fds, request)?;
    let tell = |failure| {
        let _ = send(&fds.events, &SandboxMessage::Failed(failure), &[]);
    };
    let (go_reader, go_writer) = match rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) {
        Ok(pipe) => pipe,
        Err(errno) => {
            tell(SetupFailure::new(SetupStep::Channel, "pipe", errno));
            return None;
        }
    };
    match clone::clone_process(sandbox_namespaces()) {
        Ok(Cloned::Child) => init::run(&request.spec, fds, go_reader),
        Ok(Cloned::Parent(pid, pidfd)) => {
            let mapped = map_identity(pid, &pidfd, request.spec.uid_slot, proc_files)
                .during(SetupStep::MapIdentity, "user namespace of the sandbox")
                .and_then(|()| {
                    send(&fds.events, &SandboxMessage::Created, &[pidfd.as_fd()]).during(SetupStep::Channel, "events")
                });
            match mapped {
                Ok(()) => {
                    let _ = rustix::io::write(&go_writer, &[1]);
                }
                Err(failure) => tell(failure),
            }
            Some(pidfd)
        }
        Err(errno) => {
            tell(SetupFailure::new(SetupStep::CreateNamespaces, "user, pid, mount, net, ipc, uts", errno));
            None
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
            program: fds.next()?,
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
        let single = [&self.events, &self.program, &self.stdin, &self.stdout, &self.stderr, &self.report];
        single.into_iter().chain(&self.cgroups).chain(&self.scratch).map(AsFd::as_fd).collect()
    }
}
