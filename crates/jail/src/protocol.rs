//! Messages between the processes of the engine: postcard frames over SEQPACKET sockets, descriptors beside them.
//!
//! Both ends are this same binary, so there is no version to negotiate. The `events` socket of a sandbox has three
//! writers one after the other (launcher, init, the program's process before it executes), and messages keep their
//! borders; a program never holds it, because it is closed on execution and pid 1 cannot be opened.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    failure::SetupFailure,
    spec::{EngineReport, SandboxSpec, ZygoteSpec},
    sys::clone::ChildEnd,
};

/// Largest frame. A sandbox's arguments and environment are the largest part, and bounded well below.
pub const MAX_FRAME: usize = 160 * 1024;

/// Most descriptors in one message; the kernel's own bound is 253.
const MAX_FDS: usize = 250;

/// From the launcher, once.
#[derive(Debug, Serialize, Deserialize)]
pub enum EngineStart {
    /// Sandboxes can be launched.
    Ready(EngineReport),
    /// They cannot.
    Failed(SetupFailure),
}

/// To the launcher.
#[derive(Debug, Serialize, Deserialize)]
pub enum EngineRequest {
    /// Make a sandbox.
    Launch(LaunchRequest),
    /// Start the first zygote of a tree. Beside it come its end of the socket on which it is asked.
    StartZygote(ZygoteSpec),
    /// End, and every sandbox with it. The server lives on: without this, the end of its socket means its death.
    End,
}

/// A sandbox to make.
#[derive(Debug, Serialize, Deserialize)]
pub struct LaunchRequest {
    /// The sandbox.
    pub spec: SandboxSpec,
    /// How many of the descriptors are cgroup files to join; see [`crate::engine::LaunchFds`] for their order.
    pub cgroups: usize,
    /// Whether a zygote forks the program's process, rather than init.
    pub forked: bool,
    /// Whether the folder of a cgroup is among the descriptors, to be forked into.
    pub into_cgroup: bool,
}

/// How a program's main process ended; of a forked worker, the launcher, which is its parent, tells it init.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MainEnd {
    pub(crate) status: i32,
    pub(crate) user_time: Duration,
    pub(crate) system_time: Duration,
}

impl From<ChildEnd> for MainEnd {
    fn from(end: ChildEnd) -> Self {
        Self { status: end.status, user_time: end.user_time, system_time: end.system_time }
    }
}

/// On the `events` socket of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxMessage {
    /// From the launcher: the sandbox's pid 1, as a pidfd beside it.
    Created,
    /// From init: the kernel does not let it bound how many connections wait for `accept`.
    ConnectionsUnbounded,
    /// From the program's process: the seccomp listener, as a descriptor beside it.
    SeccompListener,
    /// From the program's process: the last act before the program is executed.
    Started,
    /// From init: the main process has ended.
    MainEnded {
        /// As `waitpid` gives it.
        status: i32,
        /// Of the main process and the children it waited for.
        user_time: Duration,
        /// Likewise.
        system_time: Duration,
        /// Bytes and inodes in the writable folders: used, and free.
        scratch: Option<ScratchUsage>,
    },
    /// From any of them: the sandbox could not be set up.
    Failed(SetupFailure),
    /// From a forked worker: it is locked in and waits for a program.
    Parked,
    /// From init, before there is a program: the folder `/work`, as a descriptor beside it, where that is in memory.
    Work,
}

/// How full the writable folders are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScratchUsage {
    /// Bytes used, the filesystem's own included.
    pub used_bytes: u64,
    /// Bytes left to the program.
    pub free_bytes: u64,
    /// Inodes left to the program.
    pub free_inodes: u64,
}

/// Two ends of a socket for messages.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends one message with descriptors.
pub(crate) fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let frame = postcard::to_stdvec(message).map_err(|_| Errno::INVAL)?;
    send_raw(socket, &frame, fds)
}

/// Sends the bytes of one message with descriptors.
pub(crate) fn send_raw(socket: impl AsFd, frame: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    if frame.len() > MAX_FRAME {
        return Err(Errno::MSGSIZE);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::MSGSIZE);
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(frame)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Receives one message with its descriptors; `None` when the other side is gone.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
    // As a rule a message has a few bytes; to clear room for the largest one takes longer than to receive it.
    let (_, length) = loop {
        match recv(&socket, &mut [0_u8; 0], RecvFlags::PEEK | RecvFlags::TRUNC) {
            Ok(length) => break length,
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    };
    if length > MAX_FRAME {
        return Err(Errno::MSGSIZE);
    }
    let mut frame = vec![0_u8; length.max(1)];
    let (length, fds) = receive_raw(socket, &mut frame, RecvFlags::empty())?;
    if length == 0 {
        return Ok(None);
    }
    let content = frame.get(..length).ok_or(Errno::BADMSG)?;
    let message = postcard::from_bytes(content).map_err(|_| Errno::BADMSG)?;
    Ok(Some((message, fds)))
}

/// Receives the bytes of one message and its descriptors; none of either when the other side is gone.
pub(crate) fn receive_raw(
    socket: impl AsFd,
    frame: &mut [u8],
    flags: RecvFlags,
) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(frame)], &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message,
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok((0, Vec::new())),
            Err(errno) => return Err(errno),
        }
    };
    let fds: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE);
    }
    Ok((message.bytes, fds))
}
