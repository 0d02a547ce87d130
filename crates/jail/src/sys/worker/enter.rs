//! What a worker does between its fork and the first line of Python: it enters the box and locks itself in.
//!
//! The same locks in the same order as `program.rs` of the cold path, each verified. Nothing here can be done by Python:
//! until the last lock no code of a program, and none of the interpreter, runs.

use crate::{
    kernel::{self, EDOM, EINVAL, EPERM, Errno, Outcome},
    wire::{self, Step},
};

/// Where the worker has its sockets until it starts a program; both are closed on execution.
pub const CHECKOUT: i32 = 4;
pub const EVENTS: i32 = 5;
const FIRST_FREE: i32 = 6;

/// The id that a program sees itself as: `INNER_ID` of the jail.
const INNER_ID: u32 = 1000;

/// The number of a worker in its box, after pid 1: how the guest knows the main process of a program.
pub const WORKER: i32 = 2;

/// What failed, where.
pub struct Failure {
    step: Step,
    object: &'static [u8],
    errno: Errno,
}

trait During<T> {
    fn during(self, step: Step, object: &'static [u8]) -> Result<T, Failure>;
}

impl<T> During<T> for Outcome<T> {
    fn during(self, step: Step, object: &'static [u8]) -> Result<T, Failure> {
        self.map_err(|errno| Failure { step, object, errno })
    }
}

impl Failure {
    pub const fn new(step: Step, object: &'static [u8], errno: Errno) -> Self {
        Self { step, object, errno }
    }

    /// Tells it on the sandbox's events socket: a frame of `SandboxMessage::Failed`.
    pub fn tell(&self, events: i32) {
        let mut frame = [0_u8; 128];
        let mut length = 0;
        let mut push = |byte: u8| {
            if let Some(place) = frame.get_mut(length) {
                *place = byte;
                length += 1;
            }
        };
        push(wire::FAILED);
        push(self.step as u8);
        // Objects are constants below 128 bytes, so a length is one byte.
        push(self.object.len() as u8);
        for byte in self.object {
            push(*byte);
        }
        // Zigzag and seven bits a byte, as postcard writes an i32.
        let mut number = (self.errno.cast_unsigned()) << 1;
        while number >= 0x80 {
            push(number as u8 | 0x80);
            number >>= 7;
        }
        push(number as u8);
        if let Some(frame) = frame.get(..length) {
            let _ = kernel::send(events, frame, None);
        }
    }
}

/// A request to fork, as it came.
pub struct Request<'a> {
    pub bytes: &'a [u8],
    pub fds: &'a [i32],
}

impl Request<'_> {
    pub fn fd(&self, place: usize) -> i32 {
        self.fds.get(place).copied().unwrap_or(-1)
    }

    fn byte(&self, place: usize) -> u8 {
        self.bytes.get(place).copied().unwrap_or(0)
    }

    pub fn rehearse(&self) -> bool {
        self.byte(wire::AT_REHEARSE) != 0
    }

    /// The folder of a cgroup to be forked into.
    pub fn cgroup(&self) -> Option<i32> {
        if self.byte(wire::AT_INTO_CGROUP) == 0 { None } else { self.fds.last().copied() }
    }

    /// Files of cgroups to join.
    fn joins(&self) -> &[i32] {
        let files = self.fds.get(wire::CGROUPS..).unwrap_or_default();
        files.get(..files.len() - usize::from(self.cgroup().is_some() && !files.is_empty())).unwrap_or_default()
    }

    /// Whether all is there.
    pub fn is_whole(&self) -> bool {
        let limits = usize::from(self.byte(wire::AT_LIMITS)) * wire::LIMIT;
        let fds = wire::CGROUPS + usize::from(self.byte(wire::AT_INTO_CGROUP) != 0);
        self.bytes.len() == wire::FORK_HEADER + limits && self.fds.len() >= fds
    }
}

/// Enters the box that `request` describes. `filter` is the filter of system calls.
pub fn enter(request: &Request<'_>, filter: &[u8]) -> Result<(), Failure> {
    if kernel::getpid() != WORKER {
        return Err(Failure::new(Step::VerifyLocks, b"number of the process", EINVAL));
    }
    // While every open file of the zygote still has its number.
    if request.cgroup().is_none() {
        join_cgroups(request)?;
    }
    join_namespaces(request)?;
    kernel::set_ids(INNER_ID).during(Step::SetIdentity, b"1000")?;
    drop_privileges()?;
    place_descriptors(request).during(Step::PlaceDescriptors, b"standard streams")?;
    // A session of its own: no terminal to write into, no process group shared with anybody outside.
    kernel::new_session().during(Step::PlaceDescriptors, b"session")?;
    kernel::umask(0o022);
    kernel::change_folder(b"/work\0").during(Step::PlaceDescriptors, b"/work")?;
    set_limits(request, |resource| resource != OPEN_FILES)?;
    verify_dropped()?;
    restrict_files(request.byte(wire::AT_LANDLOCK)).during(Step::RestrictFiles, b"ruleset")?;
    // Last, because what comes before needs calls that the filter refuses.
    let listener = kernel::install_filter(filter).during(Step::InstallSeccomp, b"filter")?;
    kernel::send(EVENTS, wire::SECCOMP_LISTENER, Some(listener)).during(Step::Channel, b"seccomp listener")?;
    kernel::close(listener);
    // Only now: the kernel lets a user have as many descriptors in flight as the sender may have open.
    set_limits(request, |resource| resource == OPEN_FILES)?;
    match kernel::vhangup() {
        Err(EDOM) => Ok(()),
        _ => Err(Failure::new(Step::VerifyLocks, b"seccomp filter", EPERM)),
    }
}

/// Writes "0" ("me") to each file: who opened it is what the kernel asks, not who writes.
fn join_cgroups(request: &Request<'_>) -> Result<(), Failure> {
    for fd in request.joins() {
        kernel::write(*fd, b"0").during(Step::JoinCgroup, b"cgroup of the sandbox")?;
    }
    Ok(())
}

fn join_namespaces(request: &Request<'_>) -> Result<(), Failure> {
    const KINDS: [(usize, usize, &[u8]); 6] = [
        // First: it gives the capabilities that the others need.
        (wire::USER, 0x1000_0000, b"user namespace"),
        (wire::MOUNT, 0x2_0000, b"mount namespace"),
        (wire::NETWORK, 0x4000_0000, b"network namespace"),
        (wire::IPC, 0x800_0000, b"ipc namespace"),
        (wire::UTS, 0x400_0000, b"uts namespace"),
        (wire::CGROUP, 0x200_0000, b"cgroup namespace"),
    ];
    for (place, kind, name) in KINDS {
        kernel::setns(request.fd(place), kind).during(Step::CreateNamespaces, name)?;
    }
    if !request.joins().is_empty() { verify_joined().during(Step::VerifyLocks, b"cgroup of the sandbox") } else { Ok(()) }
}

/// Looks at where the kernel says this process is: at the root of what the box sees, in every hierarchy.
fn verify_joined() -> Outcome<()> {
    const ENOENT: Errno = 2;
    let file = kernel::open(b"/proc/self/cgroup\0", 0)?;
    let mut content = [0_u8; 4096];
    let length = kernel::read(file, &mut content);
    kernel::close(file);
    let content = content.get(..length?).unwrap_or_default();
    let mut lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    if !content.is_empty() && lines.all(|line| line.ends_with(b":/")) { Ok(()) } else { Err(ENOENT) }
}

const PR_SET_DUMPABLE: usize = 4;
const PR_CAPBSET_READ: usize = 23;
const PR_CAPBSET_DROP: usize = 24;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const PR_GET_NO_NEW_PRIVS: usize = 39;
const PR_CAP_AMBIENT: usize = 47;
const PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;

fn drop_privileges() -> Result<(), Failure> {
    let step = Step::DropPrivileges;
    for capability in 0..64 {
        match kernel::prctl(PR_CAPBSET_DROP, capability) {
            Ok(_) => {}
            // The first number that the kernel does not know; it knows none above.
            Err(EINVAL) => break,
            Err(errno) => return Err(Failure::new(step, b"bounding set", errno)),
        }
    }
    kernel::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL).during(step, b"ambient set")?;
    kernel::set_capabilities(&[0; 6]).during(step, b"capabilities")?;
    kernel::prctl(PR_SET_NO_NEW_PRIVS, 1).during(step, b"no_new_privs")?;
    // The change of ids has cleared it, and then /proc/self would belong to somebody else.
    kernel::prctl(PR_SET_DUMPABLE, 1).during(step, b"dumpable").map(drop)
}

fn verify_dropped() -> Result<(), Failure> {
    let failed = |object| Err(Failure::new(Step::VerifyLocks, object, EPERM));
    if kernel::capabilities().map_or(true, |sets| sets != [0; 6]) {
        return failed(b"capabilities");
    }
    for capability in 0..64 {
        match kernel::prctl(PR_CAPBSET_READ, capability) {
            Ok(0) => {}
            Ok(_) => return failed(b"capability bounding set"),
            Err(_) => break,
        }
    }
    if kernel::prctl(PR_GET_NO_NEW_PRIVS, 0) != Ok(1) {
        return failed(b"no_new_privs");
    }
    // A lock is only proven by trying it: in its own namespaces, a capability is all that this would need.
    if kernel::set_host_name(b"sandbox").is_ok() {
        return failed(b"capability to change the host name");
    }
    Ok(())
}

/// 0 to 3 are the program's, then come the two sockets; everything else is closed.
fn place_descriptors(request: &Request<'_>) -> Outcome<()> {
    // First up, out of the way of the targets: they came in at the lowest numbers that were free.
    let mut sources = [-1; 6];
    let wanted = [wire::STREAMS, wire::STREAMS + 1, wire::STREAMS + 2, wire::STREAMS + 3, wire::CHECKOUT, wire::EVENTS];
    for (source, place) in sources.iter_mut().zip(wanted) {
        *source = kernel::duplicate_above(request.fd(place), 64)?;
    }
    for (source, target) in sources.into_iter().zip(0..) {
        kernel::place(source, target)?;
    }
    kernel::close_on_execution(CHECKOUT)?;
    kernel::close_on_execution(EVENTS)?;
    kernel::close_from(FIRST_FREE)
}

/// `RLIMIT_NOFILE`.
const OPEN_FILES: u32 = 7;

/// Sets those of the limits that `which` chooses by their number.
fn set_limits(request: &Request<'_>, which: impl Fn(u32) -> bool) -> Result<(), Failure> {
    for limit in request.bytes.get(wire::FORK_HEADER..).unwrap_or_default().chunks_exact(wire::LIMIT) {
        let (Some((number, value)), step) = (limit.split_first_chunk::<4>(), Step::SetResourceLimits) else { continue };
        let value = value.first_chunk::<8>().map_or(0, |value| u64::from_le_bytes(*value));
        let number = u32::from_le_bytes(*number);
        if which(number) {
            kernel::limit(number, value).during(step, b"process limits")?;
        }
    }
    Ok(())
}

// Rights of Landlock on files. Source: linux/landlock.h.
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;

/// What `landlock_ring.rs` does, with rights of the kernel's own ABI, up to 6.
fn restrict_files(abi: u8) -> Outcome<()> {
    let (all, scope) = match abi {
        0 => return Ok(()),
        1 => ((1 << 13) - 1, 0),
        2 => ((1 << 14) - 1, 0),
        3 | 4 => ((1 << 15) - 1, 0),
        5 => ((1 << 16) - 1, 0),
        // Abstract sockets and signals.
        _ => ((1 << 16) - 1, 3),
    };
    let ruleset = kernel::create_ruleset(all, scope, abi)?;
    kernel::allow_beneath(ruleset, b"/\0", EXECUTE | READ_FILE | READ_DIR)?;
    for path in [&b"/work\0"[..], b"/tmp\0", b"/dev/shm\0"] {
        kernel::allow_beneath(ruleset, path, all)?;
    }
    for path in [&b"/dev/null\0"[..], b"/dev/zero\0", b"/dev/full\0", b"/dev/random\0", b"/dev/urandom\0"] {
        kernel::allow_beneath(ruleset, path, (READ_FILE | WRITE_FILE | TRUNCATE) & all)?;
    }
    let outcome = kernel::restrict_self(ruleset);
    kernel::close(ruleset);
    outcome
}
