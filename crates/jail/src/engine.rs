//! The caller's side of the engine: starting it, and launching sandboxes in it.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
};

use rustix::event::PollFlags;
use rustix::process::{Signal, pidfd_send_signal};

use crate::{
    cgroup::CgroupInstance,
    failure::SetupFailure,
    keeper::{KEEPER, KeeperRequest},
    layers::{self, Layer},
    protocol::{self, EngineRequest, EngineStart, LaunchRequest, SandboxMessage, pair, receive, send},
    readiness::poll_now,
    spec::{EngineReport, EngineSpec, SandboxSpec, ZygoteSpec},
    zygote::Zygote,
};

/// Why the engine does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The executable could not be started again as the engine's keeper.
    #[error("could not start the sandbox engine")]
    Spawn(#[source] io::Error),
    /// The engine ended without a word. The program that embeds it must call `enter_if_requested` first in `main`.
    #[error("the sandbox engine ended before it was ready")]
    NotReady,
    /// The engine could not be set up.
    #[error(transparent)]
    Setup(#[from] SetupFailure),
    /// The engine is gone, or a message is too large for it.
    #[error("could not send a message to the sandbox engine")]
    Send(#[source] io::Error),
}

/// Descriptors that a sandbox is launched with.
#[derive(Debug)]
pub struct LaunchFds {
    /// The sandbox's end of the events socket.
    pub events: OwnedFd,
    /// Where the program comes from.
    pub program: ProgramFds,
    /// The program's descriptor 0, to read from.
    pub stdin: OwnedFd,
    /// The program's descriptor 1, to write to.
    pub stdout: OwnedFd,
    /// The program's descriptor 2, to write to.
    pub stderr: OwnedFd,
    /// The program's descriptor 3, to write to.
    pub report: OwnedFd,
    /// Files of the sandbox's cgroups to write "0" into.
    pub cgroups: Vec<OwnedFd>,
    /// The writable filesystem, when it is not a tmpfs.
    pub scratch: Option<OwnedFd>,
}

/// Where the program of a sandbox comes from.
#[derive(Debug)]
pub enum ProgramFds {
    /// Init unpacks this into the sandbox, forks and executes it; see [`crate::source::pack`].
    Source(OwnedFd),
    /// A zygote forks a worker into the sandbox, which gets it later.
    Fork {
        /// The socket on which the zygote is asked.
        zygote: OwnedFd,
        /// The worker's end of the socket on which it gets its program.
        checkout: OwnedFd,
        /// The folder of the sandbox's cgroup, on version 2: a fork may begin there.
        cgroup: Option<OwnedFd>,
    },
}

/// The process of an engine that has not been told what to be. Dropping it ends it.
///
/// It can be spawned before anything about the engine is known: its start-up, a third of the engine's, then passes
/// beside whatever else there is to do.
#[derive(Debug)]
pub struct Keeper {
    /// Until the drop.
    control: Option<OwnedFd>,
    process: Child,
}

/// A running engine. Dropping it ends every sandbox in it.
#[derive(Debug)]
pub struct Engine {
    keeper: Keeper,
    report: EngineReport,
}

/// A sandbox that is being launched: the server's end of its events socket.
#[derive(Debug)]
pub struct SandboxHandle {
    events: OwnedFd,
}

impl Keeper {
    /// Starts this executable again, as a keeper.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn() -> Result<Self, EngineError> {
        let (control, theirs) = pair().map_err(|errno| EngineError::Spawn(errno.into()))?;
        let mut keeper = Command::new("/proc/self/exe");
        if layers::is_on(Layer::OwnEnvironment) {
            keeper.env_clear();
        }
        #[cfg(feature = "layer-trials")]
        keeper.envs(std::env::var(layers::WITHOUT).ok().map(|without| (layers::WITHOUT, without)));
        let process = keeper
            .arg0(KEEPER)
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(EngineError::Spawn)?;
        Ok(Self { control: Some(control), process })
    }

    fn control(&self) -> Result<&OwnedFd, EngineError> {
        self.control.as_ref().ok_or(EngineError::NotReady)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // One that was never told what to be sees the hang-up and ends; one that was has ended before.
        drop(self.control.take());
        drop(self.process.wait());
    }
}

impl Engine {
    /// Makes `keeper` the keeper of an engine and waits until that is ready. Blocks for a few milliseconds.
    ///
    /// # Errors
    /// A step of the set-up failed; nothing is left of it.
    pub fn start(mut keeper: Keeper, spec: &EngineSpec, cgroups: Option<&CgroupInstance>) -> Result<Self, EngineError> {
        let request = KeeperRequest { engine: spec.clone(), cgroups: cgroups.map(|cgroups| cgroups.paths().clone()) };
        let locks = cgroups.map(CgroupInstance::locks).unwrap_or_default();
        send(keeper.control()?, &request, &locks).map_err(|errno| EngineError::Send(errno.into()))?;
        match receive::<EngineStart>(keeper.control()?) {
            Ok(Some((EngineStart::Ready(report), _))) => Ok(Self { keeper, report }),
            Ok(Some((EngineStart::Failed(failure), _))) => {
                // It ends by itself; before that, a hang-up would mean to it that the server is dead.
                drop(keeper.process.wait());
                Err(failure.into())
            }
            Ok(None) | Err(_) => Err(EngineError::NotReady),
        }
    }

    /// What the engine found when it started.
    pub const fn report(&self) -> &EngineReport {
        &self.report
    }

    /// Whether the engine has ended.
    pub fn has_ended(&self) -> bool {
        let Ok(control) = self.keeper.control() else { return true };
        poll_now(control).intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Makes the two ends of an events socket: the handle, and what goes into [`LaunchFds::events`].
    ///
    /// # Errors
    /// No descriptors left.
    pub fn events() -> io::Result<(SandboxHandle, OwnedFd)> {
        let (ours, theirs) = pair()?;
        Ok((SandboxHandle { events: ours }, theirs))
    }

    /// Asks for a sandbox. What becomes of it arrives on its events socket.
    ///
    /// # Errors
    /// The engine is gone, or the request is too large.
    pub fn launch(&self, spec: SandboxSpec, fds: &LaunchFds) -> Result<(), EngineError> {
        let cgroups = fds.cgroups.len();
        let (forked, into_cgroup) = match &fds.program {
            ProgramFds::Source(_) => (false, false),
            ProgramFds::Fork { cgroup, .. } => (true, cgroup.is_some()),
        };
        let request = EngineRequest::Launch(LaunchRequest { spec, cgroups, forked, into_cgroup });
        send(self.keeper.control()?, &request, &fds.all()).map_err(|errno| EngineError::Send(errno.into()))
    }
}

impl Engine {
    /// Starts the first zygote of a tree. What becomes of it arrives on its socket.
    ///
    /// # Errors
    /// The engine is gone, or there are no descriptors left.
    pub fn start_zygote(&self, spec: &ZygoteSpec) -> Result<Zygote, EngineError> {
        let (zygote, theirs) = Zygote::pair().map_err(EngineError::Send)?;
        send(self.keeper.control()?, &EngineRequest::StartZygote(spec.clone()), &[theirs.as_fd()])
            .map_err(|errno| EngineError::Send(errno.into()))?;
        Ok(zygote)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The launcher ends, and its keeper with it. Only then is the socket closed: a hang-up before would mean to the
        // keeper that the server is dead, and it would remove the cgroups of all its engines.
        if let Ok(control) = self.keeper.control() {
            let _ = send(control, &EngineRequest::End, &[]);
        }
        drop(self.keeper.process.wait());
    }
}

impl Drop for SandboxHandle {
    fn drop(&mut self) {
        // Who launched it may have gone before hearing that it was created: then nobody else holds its pidfd.
        while !poll_now(&self.events).is_empty() {
            match self.receive() {
                Ok(Some((SandboxMessage::Created, Some(init)))) => {
                    let _ = pidfd_send_signal(&init, Signal::KILL);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

impl SandboxHandle {
    /// The socket, to poll on.
    pub fn socket(&self) -> &OwnedFd {
        &self.events
    }

    /// Takes the next message and the descriptor that came with it; nothing when all writers are gone.
    ///
    /// # Errors
    /// The socket failed or the message made no sense.
    pub fn receive(&self) -> io::Result<Option<(SandboxMessage, Option<OwnedFd>)>> {
        let received = protocol::receive::<SandboxMessage>(&self.events)?;
        Ok(received.map(|(message, fds)| (message, fds.into_iter().next())))
    }
}
