//! The process that becomes the program: the last locks, in the order in which they must be set, then the execution.

use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use rustix::{
    io::{Errno, fcntl_dupfd_cloexec},
    process::{Resource, Rlimit, setrlimit, setsid},
};

use crate::{
    engine::LaunchFds,
    failure::{During, SetupFailure, SetupStep},
    landlock_ring,
    layers::{self, Layer},
    privileges,
    protocol::{SandboxMessage, send},
    seccomp,
    spec::{ProcessLimit, SandboxSpec},
    sys::{clone, descriptors, notify},
};

/// First descriptor above the ones that a program gets.
const FIRST_FREE: i32 = 4;

/// Locks this process and executes the program in it.
pub(crate) fn run(spec: &SandboxSpec, fds: &LaunchFds) -> ! {
    let events = match place_descriptors(fds).during(SetupStep::PlaceDescriptors, "standard streams") {
        Ok(events) => events,
        Err(failure) => {
            let _ = send(&fds.events, &SandboxMessage::Failed(failure), &[]);
            clone::exit_now(1)
        }
    };
    let failure = match lock(spec, &events) {
        Ok(()) => match send(&events, &SandboxMessage::Started, &[]) {
            Ok(()) => execute(spec),
            // Nobody listens, so nobody keeps the deadline.
            Err(_) => clone::exit_now(1),
        },
        Err(failure) => failure,
    };
    let _ = send(&events, &SandboxMessage::Failed(failure), &[]);
    clone::exit_now(1)
}

/// 0, 1, 2 and the result pipe as 3; everything else is closed, now or on execution. Returns the events socket under
/// the number where it lives until the execution.
fn place_descriptors(fds: &LaunchFds) -> Result<OwnedFd, Errno> {
    // First up, out of the way of the targets.
    let high = |fd: &OwnedFd| fcntl_dupfd_cloexec(fd, FIRST_FREE);
    let events = high(&fds.events)?;
    let sources = [high(&fds.stdin)?, high(&fds.stdout)?, high(&fds.stderr)?, high(&fds.report)?];
    for (source, target) in sources.iter().zip(0..) {
        descriptors::place(source, target)?;
    }
    // Closed by their owners first: closing an owned number behind Rust's back is an error when it is dropped.
    drop(sources);
    if layers::is_on(Layer::ClosedDescriptors) {
        descriptors::close_all_from(FIRST_FREE, &events)?;
    }
    Ok(events)
}

/// Every lock, each verified.
fn lock(spec: &SandboxSpec, events: &OwnedFd) -> Result<(), SetupFailure> {
    // A session of its own: no terminal to write into, no process group shared with anybody outside.
    if layers::is_on(Layer::OwnSession) {
        setsid().during(SetupStep::PlaceDescriptors, "session")?;
    }
    if layers::is_on(Layer::ProcessLimits) {
        for (limit, value) in spec.process_limits.iter().filter(|(limit, _)| *limit != ProcessLimit::OpenFiles) {
            set_limit(*limit, *value).during(SetupStep::SetResourceLimits, format_args!("{limit:?}"))?;
        }
    }
    if layers::is_on(Layer::NoCapabilities) {
        privileges::verify_dropped().map_err(|lock| SetupFailure::new(SetupStep::VerifyLocks, lock, Errno::PERM))?;
    }
    if spec.landlock && layers::is_on(Layer::Landlock) {
        landlock_ring::restrict().during(SetupStep::RestrictFiles, "ruleset")?;
    }
    if !layers::is_on(Layer::Seccomp) {
        return limit_files(spec);
    }
    // Last, because what comes before needs calls that the filter refuses.
    let listener = seccomp::install().during(SetupStep::InstallSeccomp, "filter")?;
    send(events, &SandboxMessage::SeccompListener, &[listener.as_fd()])
        .during(SetupStep::Channel, "seccomp listener")?;
    drop(listener);
    limit_files(spec)?;
    match notify::probe_call(seccomp::PROBE) {
        Err(seccomp::PROBE_ANSWER) => Ok(()),
        _ => Err(SetupFailure::new(SetupStep::VerifyLocks, "seccomp filter", Errno::PERM)),
    }
}

/// After the listener is on its way: the kernel lets a user have as many descriptors in flight as the sender may have
/// open, and rootless a user has all sandboxes.
fn limit_files(spec: &SandboxSpec) -> Result<(), SetupFailure> {
    let mut limits = spec.process_limits.iter().filter(|_| layers::is_on(Layer::ProcessLimits));
    match limits.find(|(limit, _)| *limit == ProcessLimit::OpenFiles) {
        Some((limit, value)) => set_limit(*limit, *value).during(SetupStep::SetResourceLimits, "OpenFiles"),
        None => Ok(()),
    }
}

/// Sets a limit of this process, soft and hard.
pub(crate) fn set_limit(limit: ProcessLimit, value: u64) -> Result<(), Errno> {
    let resource = match limit {
        ProcessLimit::CoreSize => Resource::Core,
        ProcessLimit::FileSize => Resource::Fsize,
        ProcessLimit::OpenFiles => Resource::Nofile,
        ProcessLimit::CpuSeconds => Resource::Cpu,
        ProcessLimit::LockedMemory => Resource::Memlock,
        ProcessLimit::MessageQueues => Resource::Msgqueue,
        ProcessLimit::PendingSignals => Resource::Sigpending,
        ProcessLimit::Processes => Resource::Nproc,
    };
    // A limit that was inherited and is lower cannot be raised without privilege, and is stricter anyway.
    let inherited = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let value = Some(value.min(inherited));
    setrlimit(resource, Rlimit { current: value, maximum: value })
}

/// Executes the program; returns only when that fails.
fn execute(spec: &SandboxSpec) -> SetupFailure {
    let Some((executable, arguments)) = spec.argv.split_first() else {
        return SetupFailure::new(SetupStep::Execute, "empty argv", Errno::INVAL);
    };
    let mut program = Command::new(executable);
    if layers::is_on(Layer::OwnEnvironment) {
        program.env_clear();
    }
    let error = program.args(arguments).envs(spec.env.iter().map(|(name, value)| (name, value))).exec();
    SetupFailure::new(SetupStep::Execute, executable, Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
