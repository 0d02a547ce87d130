//! System calls, made without a C library: the interpreter's own may be any.

use core::arch::asm;

#[cfg(target_arch = "x86_64")]
mod numbers {
    pub const CAPGET: usize = 125;
    pub const CAPSET: usize = 126;
    pub const CHDIR: usize = 80;
    pub const CLOSE: usize = 3;
    pub const DUP3: usize = 292;
    pub const EXIT_GROUP: usize = 231;
    pub const FCNTL: usize = 72;
    pub const GETPID: usize = 39;
    pub const GET_ROBUST_LIST: usize = 274;
    pub const KILL: usize = 62;
    pub const NEWFSTATAT: usize = 262;
    pub const OPENAT: usize = 257;
    pub const PRCTL: usize = 157;
    pub const PRLIMIT64: usize = 302;
    pub const READ: usize = 0;
    pub const RECVMSG: usize = 47;
    pub const SECCOMP: usize = 317;
    pub const SENDMSG: usize = 46;
    pub const SETHOSTNAME: usize = 170;
    pub const SETNS: usize = 308;
    pub const SETRESGID: usize = 119;
    pub const SETRESUID: usize = 117;
    pub const SETSID: usize = 112;
    pub const SET_ROBUST_LIST: usize = 273;
    pub const UMASK: usize = 95;
    pub const VHANGUP: usize = 153;
    pub const WRITE: usize = 1;
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    pub const CAPGET: usize = 90;
    pub const CAPSET: usize = 91;
    pub const CHDIR: usize = 49;
    pub const CLOSE: usize = 57;
    pub const DUP3: usize = 24;
    pub const EXIT_GROUP: usize = 94;
    pub const FCNTL: usize = 25;
    pub const GETPID: usize = 172;
    pub const GET_ROBUST_LIST: usize = 100;
    pub const KILL: usize = 129;
    pub const NEWFSTATAT: usize = 79;
    pub const OPENAT: usize = 56;
    pub const PRCTL: usize = 167;
    pub const PRLIMIT64: usize = 261;
    pub const READ: usize = 63;
    pub const RECVMSG: usize = 212;
    pub const SECCOMP: usize = 277;
    pub const SENDMSG: usize = 211;
    pub const SETHOSTNAME: usize = 161;
    pub const SETNS: usize = 268;
    pub const SETRESGID: usize = 149;
    pub const SETRESUID: usize = 147;
    pub const SETSID: usize = 157;
    pub const SET_ROBUST_LIST: usize = 99;
    pub const UMASK: usize = 166;
    pub const VHANGUP: usize = 58;
    pub const WRITE: usize = 64;
}

// The same on both.
const CLONE3: usize = 435;
const CLOSE_RANGE: usize = 436;
const LANDLOCK_CREATE_RULESET: usize = 444;
const LANDLOCK_ADD_RULE: usize = 445;
const LANDLOCK_RESTRICT_SELF: usize = 446;

use numbers::*;

/// What the kernel answers when a call fails: a positive number.
pub type Errno = i32;
pub type Outcome<T> = Result<T, Errno>;

pub const EINTR: Errno = 4;
pub const EINVAL: Errno = 22;
pub const EPERM: Errno = 1;
pub const EDOM: Errno = 33;
pub const EBADMSG: Errno = 74;

const AT_FDCWD: isize = -100;
const O_PATH_CLOEXEC: usize = 0o12_000_000;

/// A call with six arguments; those that it does not take are ignored.
fn call(number: usize, arguments: [usize; 6]) -> Outcome<usize> {
    let result: isize;
    let [a, b, c, d, e, f] = arguments;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel changes rax, rcx and r11 and what the arguments point to, which each caller below answers for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel changes x0 and what the arguments point to, which each caller below answers for.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) { Err(-result as Errno) } else { Ok(result as usize) }
}

fn call3(number: usize, a: usize, b: usize, c: usize) -> Outcome<usize> {
    call(number, [a, b, c, 0, 0, 0])
}

pub fn exit(code: i32) -> ! {
    loop {
        let _ = call3(EXIT_GROUP, code as usize, 0, 0);
    }
}

pub fn signal_self(number: i32) {
    let _ = call3(KILL, getpid() as usize, number as usize, 0);
}

pub fn close(fd: i32) {
    let _ = call3(CLOSE, fd as usize, 0, 0);
}

pub fn close_from(first: i32) -> Outcome<()> {
    call3(CLOSE_RANGE, first as usize, u32::MAX as usize, 0).map(drop)
}

pub fn write(fd: i32, bytes: &[u8]) -> Outcome<usize> {
    call3(WRITE, fd as usize, bytes.as_ptr() as usize, bytes.len())
}

pub fn read(fd: i32, bytes: &mut [u8]) -> Outcome<usize> {
    loop {
        match call3(READ, fd as usize, bytes.as_mut_ptr() as usize, bytes.len()) {
            Err(EINTR) => {}
            outcome => return outcome,
        }
    }
}

/// `path` ends with a NUL.
pub fn open(path: &[u8], flags: usize) -> Outcome<i32> {
    debug_assert!(path.last() == Some(&0));
    call(OPENAT, [AT_FDCWD as usize, path.as_ptr() as usize, flags, 0, 0, 0]).map(|fd| fd as i32)
}

pub fn open_path(path: &[u8]) -> Outcome<i32> {
    open(path, O_PATH_CLOEXEC)
}

/// Makes `source` also available as `target`, open across an execution.
pub fn place(source: i32, target: i32) -> Outcome<()> {
    call3(DUP3, source as usize, target as usize, 0).map(drop)
}

/// A copy of `fd` at `lowest` or above.
pub fn duplicate_above(fd: i32, lowest: i32) -> Outcome<i32> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    call3(FCNTL, fd as usize, F_DUPFD_CLOEXEC, lowest as usize).map(|fd| fd as i32)
}

pub fn close_on_execution(fd: i32) -> Outcome<()> {
    const F_SETFD: usize = 2;
    call3(FCNTL, fd as usize, F_SETFD, 1).map(drop)
}

pub fn getpid() -> i32 {
    call3(GETPID, 0, 0, 0).unwrap_or(0) as i32
}

pub fn setns(fd: i32, kind: usize) -> Outcome<()> {
    call3(SETNS, fd as usize, kind, 0).map(drop)
}

pub fn prctl(option: usize, argument: usize) -> Outcome<usize> {
    call(PRCTL, [option, argument, 0, 0, 0, 0])
}

/// `name` ends with a NUL.
pub fn set_name(name: &[u8]) {
    const PR_SET_NAME: usize = 15;
    let _ = prctl(PR_SET_NAME, name.as_ptr() as usize);
}

pub fn set_ids(id: u32) -> Outcome<()> {
    let id = id as usize;
    call3(SETRESGID, id, id, id)?;
    call3(SETRESUID, id, id, id).map(drop)
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

const CAPABILITY_HEADER: CapabilityHeader = CapabilityHeader { version: 0x2008_0522, pid: 0 };

/// Effective, permitted and inheritable capabilities, each in two halves.
pub type Capabilities = [u32; 6];

pub fn set_capabilities(sets: &Capabilities) -> Outcome<()> {
    let header = CAPABILITY_HEADER;
    call3(CAPSET, &raw const header as usize, sets.as_ptr() as usize, 0).map(drop)
}

pub fn capabilities() -> Outcome<Capabilities> {
    // The kernel writes the version that it prefers when it does not know ours.
    let header = CAPABILITY_HEADER;
    let mut sets = Capabilities::default();
    call3(CAPGET, &raw const header as usize, sets.as_mut_ptr() as usize, 0)?;
    Ok(sets)
}

pub fn new_session() -> Outcome<()> {
    call3(SETSID, 0, 0, 0).map(drop)
}

/// `path` ends with a NUL.
pub fn change_folder(path: &[u8]) -> Outcome<()> {
    call3(CHDIR, path.as_ptr() as usize, 0, 0).map(drop)
}

pub fn umask(mask: usize) {
    let _ = call3(UMASK, mask, 0, 0);
}

pub fn set_host_name(name: &[u8]) -> Outcome<()> {
    call3(SETHOSTNAME, name.as_ptr() as usize, name.len(), 0).map(drop)
}

/// Does nothing that matters where it is not refused: there is no terminal.
pub fn vhangup() -> Outcome<()> {
    call3(VHANGUP, 0, 0, 0).map(drop)
}

/// Limits this process to `value`, or to what it inherited if that is less.
pub fn limit(resource: u32, value: u64) -> Outcome<()> {
    let mut inherited = [0_u64; 2];
    let resource = resource as usize;
    call(PRLIMIT64, [0, resource, 0, inherited.as_mut_ptr() as usize, 0, 0])?;
    let value = if value < inherited[1] { value } else { inherited[1] };
    let limits = [value, value];
    if limits == inherited {
        // The zygote's filter refuses some limits altogether, and the zygote has them.
        return Ok(());
    }
    call(PRLIMIT64, [0, resource, limits.as_ptr() as usize, 0, 0, 0]).map(drop)
}

/// Number of threads of this process: a folder has a link for itself, one from above and one for each folder below.
pub fn threads() -> Outcome<u64> {
    // Larger than `struct stat` of either architecture.
    let mut status = [0_u64; 32];
    let path = b"/proc/self/task\0";
    call(NEWFSTATAT, [AT_FDCWD as usize, path.as_ptr() as usize, status.as_mut_ptr() as usize, 0, 0, 0])?;
    // st_nlink: the third word on x86-64; the upper half of the third one elsewhere.
    let links = if cfg!(target_arch = "x86_64") { status[2] } else { status[2] >> 32 };
    Ok(links.saturating_sub(2))
}

#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks this process as a child of its parent. 0 in the new process, else its number and a pidfd of it.
///
/// A C library's own fork would tell the thread its new number and register its list of robust mutexes anew: this does
/// both. Handlers of `pthread_atfork` do not run, which is harmless with one thread.
///
/// With the folder of a cgroup (version 2), the new process begins in that one.
pub fn fork_beside(cgroup: Option<i32>) -> Outcome<(i32, i32)> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    const CLONE_PARENT: u64 = 0x8000;
    const CLONE_PIDFD: u64 = 0x1000;
    const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
    const CLONE_CHILD_SETTID: u64 = 0x100_0000;
    const PR_GET_TID_ADDRESS: usize = 40;
    let mut thread_id = 0_usize;
    prctl(PR_GET_TID_ADDRESS, &raw mut thread_id as usize)?;
    let (mut robust, mut length) = (0_usize, 0_usize);
    call3(GET_ROBUST_LIST, 0, &raw mut robust as usize, &raw mut length as usize)?;
    let mut pidfd = -1_i32;
    let arguments = CloneArguments {
        flags: CLONE_PARENT
            | CLONE_PIDFD
            | CLONE_CHILD_CLEARTID
            | CLONE_CHILD_SETTID
            | cgroup.map_or(0, |_| CLONE_INTO_CGROUP),
        pidfd: &raw mut pidfd as u64,
        child_tid: thread_id as u64,
        cgroup: cgroup.map_or(0, |folder| folder as u64),
        ..CloneArguments::default()
    };
    let pid = call3(CLONE3, &raw const arguments as usize, size_of::<CloneArguments>(), 0)? as i32;
    if pid == 0 && robust != 0 {
        let _ = call3(SET_ROBUST_LIST, robust, length, 0);
    }
    Ok((pid, pidfd))
}

#[repr(C)]
struct Slice {
    start: usize,
    length: usize,
}

#[repr(C)]
struct MessageHeader {
    name: usize,
    name_length: u32,
    slices: usize,
    slice_count: usize,
    control: usize,
    control_length: usize,
    flags: i32,
}

const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
/// Most descriptors in a message that is received.
pub const MAX_FDS: usize = 32;

/// `struct cmsghdr` with room for descriptors.
#[repr(C, align(8))]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    fds: [i32; MAX_FDS],
}

const CONTROL_HEADER: usize = 16;

/// Receives one message; no bytes when the other side is gone. Returns the numbers of bytes and of descriptors.
pub fn receive(socket: i32, bytes: &mut [u8], fds: &mut [i32; MAX_FDS]) -> Outcome<(usize, usize)> {
    const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
    const MSG_TRUNCATED: i32 = 0x20 | 0x8;
    let slice = Slice { start: bytes.as_mut_ptr() as usize, length: bytes.len() };
    let mut control = Control { length: 0, level: 0, kind: 0, fds: [0; MAX_FDS] };
    let (count, header) = loop {
        let mut header = MessageHeader {
            name: 0,
            name_length: 0,
            slices: &raw const slice as usize,
            slice_count: 1,
            control: &raw mut control as usize,
            control_length: size_of::<Control>(),
            flags: 0,
        };
        match call3(RECVMSG, socket as usize, &raw mut header as usize, MSG_CMSG_CLOEXEC) {
            Err(EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(count) => break (count, header),
        }
    };
    let mut received = 0;
    if header.control_length >= CONTROL_HEADER && (control.level, control.kind) == (SOL_SOCKET, SCM_RIGHTS) {
        let there = (control.length.saturating_sub(CONTROL_HEADER)) / 4;
        for (target, fd) in fds.iter_mut().zip(control.fds).take(there) {
            *target = fd;
            received += 1;
        }
    }
    if header.flags & MSG_TRUNCATED != 0 {
        for fd in fds.iter().take(received) {
            close(*fd);
        }
        return Err(EBADMSG);
    }
    Ok((count, received))
}

/// Sends one message, with a descriptor beside it if there is one.
pub fn send(socket: i32, bytes: &[u8], fd: Option<i32>) -> Outcome<()> {
    const MSG_NOSIGNAL: usize = 0x4000;
    let slice = Slice { start: bytes.as_ptr() as usize, length: bytes.len() };
    let mut control =
        Control { length: CONTROL_HEADER + 4, level: SOL_SOCKET, kind: SCM_RIGHTS, fds: [0; MAX_FDS] };
    if let (Some(fd), Some(first)) = (fd, control.fds.first_mut()) {
        *first = fd;
    }
    let header = MessageHeader {
        name: 0,
        name_length: 0,
        slices: &raw const slice as usize,
        slice_count: 1,
        control: if fd.is_some() { &raw const control as usize } else { 0 },
        control_length: if fd.is_some() { CONTROL_HEADER + 8 } else { 0 },
        flags: 0,
    };
    loop {
        match call3(SENDMSG, socket as usize, &raw const header as usize, MSG_NOSIGNAL) {
            Err(EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => return Ok(()),
        }
    }
}

#[repr(C)]
struct FilterProgram {
    length: u16,
    filter: usize,
}

/// Installs a filter of `instructions` (8 bytes each) for good. Returns the listener of its notifications.
pub fn install_filter(instructions: &[u8]) -> Outcome<i32> {
    const SET_MODE_FILTER: usize = 1;
    const NEW_LISTENER: usize = 8;
    let program = FilterProgram { length: (instructions.len() / 8) as u16, filter: instructions.as_ptr() as usize };
    call3(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, &raw const program as usize).map(|fd| fd as i32)
}

#[repr(C)]
struct RulesetAttributes {
    files: u64,
    network: u64,
    scope: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    access: u64,
    folder: i32,
}

/// A Landlock ruleset that handles these rights; `abi` says how much of the structure the kernel knows.
pub fn create_ruleset(files: u64, scope: u64, abi: u8) -> Outcome<i32> {
    let attributes = RulesetAttributes { files, network: 0, scope };
    let size = match abi {
        ..4 => 8,
        4..6 => 16,
        _ => 24,
    };
    call3(LANDLOCK_CREATE_RULESET, &raw const attributes as usize, size, 0).map(|fd| fd as i32)
}

/// `path` ends with a NUL.
pub fn allow_beneath(ruleset: i32, path: &[u8], access: u64) -> Outcome<()> {
    const PATH_BENEATH: usize = 1;
    let folder = open_path(path)?;
    let rule = PathBeneath { access, folder };
    let outcome = call(LANDLOCK_ADD_RULE, [ruleset as usize, PATH_BENEATH, &raw const rule as usize, 0, 0, 0]);
    close(folder);
    outcome.map(drop)
}

pub fn restrict_self(ruleset: i32) -> Outcome<()> {
    call3(LANDLOCK_RESTRICT_SELF, ruleset as usize, 0, 0).map(drop)
}
