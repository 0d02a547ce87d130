//! Zygotes: interpreters that are forked. The caller's side of one, and how the first one of a tree is started.
//!
//! The zygote itself is `sys/worker/`, an extension module that the interpreter loads, and whatever the interpreter is
//! told to do by it. The jail knows of Python only what that module calls.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::Command,
};

use rustix::{
    fs::{MemfdFlags, Mode, OFlags, SeekFrom, memfd_create, open, seek},
    io::Errno,
    net::RecvFlags,
    pipe::{PipeFlags, pipe_with},
};

use crate::{
    failure::{During, SetupFailure, SetupStep},
    mount::{attach, create_filesystem, harmless},
    privileges, program,
    protocol::{pair, receive_raw, send_raw},
    root::{make_links, write_all},
    seccomp,
    spec::{ProcessLimit, SandboxSpec, WRITABLE, ZygoteSpec},
    sys::{clone, descriptors, landlock, signals},
    wire,
};

/// The native half of a zygote, for an interpreter of this host: a file that it loads as the module `_sandbox_native`.
pub const NATIVE_MODULE: &[u8] = include_bytes!(env!("SANDBOX_NATIVE_MODULE"));

/// What a zygote writes while it imports, in bytes; above it, the write blocks.
const SCRATCH_SIZE: &str = "64m";

/// The caller's end of a zygote. Dropping all copies of it ends the zygote; its workers live on.
#[derive(Debug)]
pub struct Zygote {
    socket: OwnedFd,
}

/// What a zygote says.
#[derive(Debug)]
pub enum ZygoteMessage {
    /// Its process exists.
    Made(OwnedFd),
    /// Everything is imported: it can be forked.
    Ready,
    /// It ends, and why.
    Broken(String),
}

impl Zygote {
    /// A caller's end, and the zygote's.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (socket, theirs) = pair()?;
        Ok((Self { socket }, theirs))
    }

    /// Asks for another zygote that has imported `modules` as well. What becomes of it arrives on its own socket.
    ///
    /// # Errors
    /// This zygote is gone, or the names are too long for a request.
    pub fn grow(&self, modules: &[String]) -> io::Result<Self> {
        let (zygote, theirs) = Self::pair()?;
        let request = [&[wire::GROW], modules.join(" ").as_bytes()].concat();
        if request.len() > wire::MAX_REQUEST {
            return Err(Errno::MSGSIZE.into());
        }
        send_raw(&self.socket, &request, &[theirs.as_fd()])?;
        Ok(zygote)
    }

    /// The socket, to poll on, and to pass to sandboxes that it is to fork for.
    pub const fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Takes the next message; nothing when the zygote is gone. Does not block.
    ///
    /// # Errors
    /// There is none yet, the socket failed or the message made no sense.
    pub fn receive(&self) -> io::Result<Option<ZygoteMessage>> {
        let mut bytes = [0_u8; 512];
        let (length, fds) = receive_raw(&self.socket, &mut bytes, RecvFlags::DONTWAIT)?;
        let Some((kind, text)) = bytes.get(..length).unwrap_or_default().split_first() else { return Ok(None) };
        match (*kind, fds.into_iter().next()) {
            (wire::MADE, Some(process)) => Ok(Some(ZygoteMessage::Made(process))),
            (wire::READY, _) => Ok(Some(ZygoteMessage::Ready)),
            (wire::BROKEN, _) => Ok(Some(ZygoteMessage::Broken(String::from_utf8_lossy(text).into_owned()))),
            _ => Err(Errno::BADMSG.into()),
        }
    }
}

/// The two ends of the socket on which a worker gets its program: the caller's, and the worker's.
///
/// # Errors
/// No descriptors left.
pub fn checkout() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pair()?)
}

/// Gives a parked worker its program: what the guest's `prepare` reads.
///
/// # Errors
/// The worker is gone.
pub fn hand_over(checkout: impl AsFd, program: impl AsFd) -> io::Result<()> {
    Ok(send_raw(checkout, &[1], &[program.as_fd()])?)
}

/// The request that a sandbox's init sends to its zygote.
pub(crate) fn fork_request(spec: &SandboxSpec, into_cgroup: bool) -> Vec<u8> {
    let landlock = if spec.landlock { landlock::abi() } else { 0 };
    let limits = u8::try_from(spec.process_limits.len()).unwrap_or(u8::MAX);
    // At the places that the wire's constants name.
    let mut request = vec![wire::FORK, landlock, u8::from(spec.rehearse), limits, u8::from(into_cgroup)];
    for (limit, value) in &spec.process_limits {
        request.extend(limit.number().to_le_bytes());
        request.extend(value.to_le_bytes());
    }
    request
}

/// The life of a new process of the launcher's that becomes the first zygote of a tree. It is in mount, network and ipc
/// namespaces of its own.
pub(crate) fn run(spec: &ZygoteSpec, socket: OwnedFd) -> ! {
    signals::unblock_all();
    let tell = |socket: &OwnedFd, failure: SetupFailure| {
        let _ = send_raw(socket, &[&[wire::BROKEN], failure.to_string().as_bytes()].concat(), &[]);
    };
    match place_descriptors(&socket).during(SetupStep::PlaceDescriptors, "zygote") {
        Ok(socket) => match start(spec) {
            Ok(never) => match never {},
            Err(failure) => tell(&socket, failure),
        },
        Err(failure) => tell(&socket, failure),
    }
    // Its descriptors are not closed by their old numbers, which live again.
    std::mem::forget(socket);
    clone::exit_now(1)
}

fn start(spec: &ZygoteSpec) -> Result<std::convert::Infallible, SetupFailure> {
    mount_scratch(spec)?;
    rustix::process::setsid().during(SetupStep::PlaceDescriptors, "session")?;
    program::set_limit(ProcessLimit::CoreSize, 1).during(SetupStep::SetResourceLimits, "CoreSize")?;
    privileges::keep_only_sys_admin().during(SetupStep::DropPrivileges, "capabilities of a zygote")?;
    seccomp::install_for_zygote().during(SetupStep::InstallSeccomp, "filter of a zygote")?;
    let Some((executable, arguments)) = spec.argv.split_first() else {
        return Err(SetupFailure::new(SetupStep::Execute, "empty argv", Errno::INVAL));
    };
    let error = Command::new(executable)
        .args(arguments)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir("/work")
        .exec();
    Err(SetupFailure::new(SetupStep::Execute, executable, Errno::from_io_error(&error).unwrap_or(Errno::IO)))
}

/// Writable folders of the zygote's own: packages write there while they are imported. Boxes mount theirs over it.
fn mount_scratch(spec: &ZygoteSpec) -> Result<(), SetupFailure> {
    for (path, _) in WRITABLE {
        let options = [("mode", Some("755")), ("size", Some(SCRATCH_SIZE))];
        let tmpfs = create_filesystem("tmpfs", &options, harmless()).during(SetupStep::MountScratch, path)?;
        attach(&tmpfs, Path::new(path)).during(SetupStep::MountScratch, path)?;
    }
    make_links(&spec.scratch_links)
}

/// 0 to 2 are pipes, as a program's are, so that the interpreter's streams are made for pipes; then come the socket, the
/// filter for workers, a place that is left free, and the end of the output that nobody reads. Everything else is closed,
/// but another copy of the socket, which is returned and closed on execution.
fn place_descriptors(socket: &OwnedFd) -> Result<OwnedFd, Errno> {
    const HIGH: i32 = 64;
    const SOCKET: usize = 3;
    let (input, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    drop(writer);
    let (reader, output) = pipe_with(PipeFlags::CLOEXEC)?;
    let filter = memfd_create("filter", MemfdFlags::CLOEXEC)?;
    write_all(&filter, &seccomp::program_bytes())?;
    seek(&filter, SeekFrom::Start(0))?;
    let unused = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let high = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, HIGH);
    let sources =
        [high(&input)?, high(&output)?, high(&output)?, high(socket)?, high(&filter)?, high(&unused)?, high(&reader)?];
    // Their low numbers may be targets; from here on nothing is closed by an owner.
    for owner in [input, output, filter, unused, reader] {
        std::mem::forget(owner);
    }
    for (source, target) in sources.iter().zip(0..) {
        descriptors::place(source, target)?;
    }
    let mut sources = Vec::from(sources);
    let socket = sources.swap_remove(SOCKET);
    for source in sources {
        std::mem::forget(source);
    }
    descriptors::close_all_from(7, &socket)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use wire::Step as Native;

    use super::*;
    use crate::protocol::SandboxMessage;

    #[test]
    fn the_native_code_speaks_as_serde_does() {
        let frame = |message: &SandboxMessage| postcard::to_stdvec(message).unwrap();
        assert_eq!(frame(&SandboxMessage::SeccompListener), wire::SECCOMP_LISTENER);
        assert_eq!(frame(&SandboxMessage::Started), wire::STARTED);
        assert_eq!(frame(&SandboxMessage::Parked), wire::PARKED);
        for (step, native) in [
            (SetupStep::Channel, Native::Channel),
            (SetupStep::CreateNamespaces, Native::CreateNamespaces),
            (SetupStep::SetIdentity, Native::SetIdentity),
            (SetupStep::JoinCgroup, Native::JoinCgroup),
            (SetupStep::DropPrivileges, Native::DropPrivileges),
            (SetupStep::SetResourceLimits, Native::SetResourceLimits),
            (SetupStep::PlaceDescriptors, Native::PlaceDescriptors),
            (SetupStep::RestrictFiles, Native::RestrictFiles),
            (SetupStep::InstallSeccomp, Native::InstallSeccomp),
            (SetupStep::VerifyLocks, Native::VerifyLocks),
            (SetupStep::Execute, Native::Execute),
        ] {
            let failure = SetupFailure { step, object: "ab".to_owned(), errno: 1 };
            let expected = [wire::FAILED, native as u8, 2, b'a', b'b', 2];
            assert_eq!(frame(&SandboxMessage::Failed(failure)), expected, "{step}");
        }
        let far = SetupFailure { step: SetupStep::Channel, object: String::new(), errno: 100 };
        assert_eq!(frame(&SandboxMessage::Failed(far)), [wire::FAILED, 0, 0, 0xC8, 0x01]);
    }

    #[test]
    fn the_native_module_is_a_library_without_needs() {
        assert!(NATIVE_MODULE.starts_with(b"\x7FELF"));
        assert!(!NATIVE_MODULE.windows(8).any(|window| window == b"libc.so."), "it asks for a C library");
    }
}
