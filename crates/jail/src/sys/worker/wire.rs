//! What the zygote's native code and the rest of the engine say to each other. Both compile this file.
//!
//! The native code has neither an allocator nor serde, so its messages are bytes at fixed places, and the few frames that
//! it sends on a sandbox's `events` socket are constants here, tested to be what serde makes of them.

/// Largest request to a zygote, in bytes.
pub(crate) const MAX_REQUEST: usize = 4096;

/// First byte of a request: fork a worker into a box.
pub(crate) const FORK: u8 = b'F';
/// First byte of a request: fork another zygote, which imports what follows as text.
pub(crate) const GROW: u8 = b'G';

/// First byte of an answer: the zygote's process exists; its pidfd is beside it.
pub(crate) const MADE: u8 = b'M';
/// First byte of an answer: everything is imported.
pub(crate) const READY: u8 = b'R';
/// First byte of an answer: it ends, for the reason that follows as text.
pub(crate) const BROKEN: u8 = b'E';

/// A fork request: this header, then for each limit its number (4 bytes) and its value (8 bytes), little-endian.
pub(crate) const FORK_HEADER: usize = 5;
/// Place of the Landlock ABI to restrict files with; 0 for none.
pub(crate) const AT_LANDLOCK: usize = 1;
/// Place of 1 when the worker is to touch what programs touch before it parks.
pub(crate) const AT_REHEARSE: usize = 2;
/// Place of the number of limits.
pub(crate) const AT_LIMITS: usize = 3;
/// Place of 1 when the last descriptor is the folder of a cgroup to be forked into.
pub(crate) const AT_INTO_CGROUP: usize = 4;
/// Bytes of one limit.
pub(crate) const LIMIT: usize = 12;

// Descriptors of a fork request, by their place; what comes after them are files of cgroups to join.
/// Namespaces, in the order in which they are joined; the pid namespace is joined by the clone.
pub(crate) const USER: usize = 0;
pub(crate) const MOUNT: usize = 1;
pub(crate) const NETWORK: usize = 2;
pub(crate) const IPC: usize = 3;
pub(crate) const UTS: usize = 4;
pub(crate) const CGROUP: usize = 5;
pub(crate) const PID: usize = 6;
/// Init's end of the socket on which the launcher learns the worker's pid.
pub(crate) const LIFE: usize = 7;
/// The sandbox's events socket.
pub(crate) const EVENTS: usize = 8;
/// The program's descriptors 0 to 3, one after the other.
pub(crate) const STREAMS: usize = 9;
/// The socket on which the worker gets its program.
pub(crate) const CHECKOUT: usize = 13;
/// Where the files of cgroups begin.
pub(crate) const CGROUPS: usize = 14;

/// `SandboxMessage::SeccompListener` as a frame.
pub(crate) const SECCOMP_LISTENER: &[u8] = &[2];
/// `SandboxMessage::Started` as a frame.
pub(crate) const STARTED: &[u8] = &[3];
/// First byte of `SandboxMessage::Failed` as a frame; the step, the length of the object, the object and the errno
/// follow, each number in its shortest form.
pub(crate) const FAILED: u8 = 5;
/// `SandboxMessage::Parked` as a frame.
pub(crate) const PARKED: &[u8] = &[6];

/// `SetupStep` as a byte of a frame.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Step {
    Channel = 0,
    CreateNamespaces = 1,
    SetIdentity = 3,
    JoinCgroup = 8,
    DropPrivileges = 13,
    SetResourceLimits = 14,
    PlaceDescriptors = 15,
    RestrictFiles = 16,
    InstallSeccomp = 17,
    VerifyLocks = 18,
    Execute = 19,
}
