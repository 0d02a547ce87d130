//! The table of system calls: data, with a reason for each rule.
//!
//! A call that no rule names is refused when the kernel knows it and unknown when it does not. Several rules for one
//! call are tried in order; when none fits, the call is refused. Conditions compare all 64 bits of an argument, also
//! where the kernel looks at 32: a filter that looked at half of it has been walked around before (CVE-2019-10063).

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The kernel makes it.
    Allow,
    /// It fails with this errno and nobody is told: libraries try it and live without.
    Quiet(i32),
    /// It fails with EPERM and the monitor is told its name.
    Refuse,
}

/// What must hold for an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is one of these.
    OneOf(u8, &'static [u64]),
    /// Without these bits, it is one of these.
    MaskedOneOf(u8, u64, &'static [u64]),
    /// None of these bits is set.
    Clear(u8, u64),
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Names as in the kernel's tables; one that an architecture does not have does not matter there.
    pub calls: &'static [&'static str],
    /// All of them must hold.
    pub when: &'static [Condition],
    /// What happens then.
    pub action: Action,
    /// Why.
    pub reason: &'static str,
}

const fn allow(reason: &'static str, calls: &'static [&'static str]) -> Rule {
    Rule { calls, when: &[], action: Action::Allow, reason }
}

const fn when(
    reason: &'static str,
    calls: &'static [&'static str],
    when: &'static [Condition],
    action: Action,
) -> Rule {
    Rule { calls, when, action, reason }
}

const fn quiet(reason: &'static str, calls: &'static [&'static str], errno: i32) -> Rule {
    Rule { calls, when: &[], action: Action::Quiet(errno), reason }
}

/// `CLONE_NEWTIME`, `NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`.
const NEW_NAMESPACES: u64 = 0x7E02_0080;
const CLONE_PARENT: u64 = 0x8000;
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;
/// `SOCK_STREAM`, `SOCK_DGRAM`, `SOCK_SEQPACKET`: not `SOCK_RAW`.
const SOCKET_TYPES: &[u64] = &[1, 2, 5];
/// `SOCK_CLOEXEC` and `SOCK_NONBLOCK`.
const SOCKET_FLAGS: u64 = 0x8_0800;
/// `RLIMIT_CPU` to `RLIMIT_RTTIME`, without `RLIMIT_CORE` (4).
const LIMITS_BUT_CORE: &[u64] = &[0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// Protocols of ordinary sockets: any, TCP, UDP.
const PROTOCOLS: &[u64] = &[0, 6, 17];
const SOL_SOCKET: u64 = 1;
const IPPROTO_IP: u64 = 0;
const IPPROTO_TCP: u64 = 6;
const IPPROTO_IPV6: u64 = 41;
/// `SO_DEBUG` to `SO_BROADCAST`, `SNDBUF`, `RCVBUF`, `KEEPALIVE`, `OOBINLINE`, `PRIORITY`, `LINGER`, `REUSEPORT`,
/// `PASSCRED`, `RCVLOWAT`, `SNDLOWAT`, `RCVTIMEO`, `SNDTIMEO`, `TIMESTAMP`, `TIMESTAMPNS`, `RXQ_OVFL`, `PEEK_OFF`,
/// `BUSY_POLL`, `INCOMING_CPU`, the last four times once more for 64-bit times, `PASSPIDFD`.
const SOCKET_OPTIONS: &[u64] =
    &[1, 2, 5, 6, 7, 8, 9, 10, 12, 13, 15, 16, 18, 19, 20, 21, 29, 35, 40, 42, 46, 49, 63, 64, 66, 67, 76];
/// `TCP_NODELAY`, `MAXSEG`, `CORK`, `KEEPIDLE`, `KEEPINTVL`, `KEEPCNT`, `SYNCNT`, `LINGER2`, `DEFER_ACCEPT`,
/// `WINDOW_CLAMP`, `QUICKACK`, `USER_TIMEOUT`, `FASTOPEN`, `NOTSENT_LOWAT`, `FASTOPEN_CONNECT`.
const TCP_OPTIONS: &[u64] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 18, 23, 25, 30];
/// `IP_TOS`, `TTL`, `PKTINFO`, `MTU_DISCOVER`, `RECVERR`, `RECVTTL`, `RECVTOS`, `BIND_ADDRESS_NO_PORT`,
/// `MULTICAST_IF`, `MULTICAST_TTL`, `MULTICAST_LOOP`.
const IPV4_OPTIONS: &[u64] = &[1, 2, 8, 10, 11, 12, 13, 24, 32, 33, 34];
/// `IPV6_UNICAST_HOPS`, `MULTICAST_IF`, `MULTICAST_HOPS`, `MULTICAST_LOOP`, `MTU_DISCOVER`, `RECVERR`, `V6ONLY`,
/// `RECVPKTINFO`, `PKTINFO`, `RECVHOPLIMIT`, `RECVTCLASS`, `TCLASS`.
const IPV6_OPTIONS: &[u64] = &[16, 17, 18, 19, 23, 25, 26, 49, 50, 51, 66, 67];
/// Bits that a 32-bit argument has not.
const UPPER_HALF: u64 = 0xFFFF_FFFF_0000_0000;
/// `MAP_HUGETLB` of mmap.
const MAP_HUGETLB: u64 = 0x4_0000;
/// `MFD_HUGETLB` of `memfd_create`.
const MFD_HUGETLB: u64 = 4;
/// Permission bits of a mode; what is left is the file's type.
const PERMISSIONS: u64 = 0o7777;
/// Regular file (also as 0), FIFO, socket: not devices.
const NODE_TYPES: &[u64] = &[0, 0o100_000, 0o010_000, 0o140_000];

/// What a zygote may do beside a program: put its forks into their boxes and lock them in. It cannot mount, unshare,
/// trace, load or listen any more than a program can.
pub const ZYGOTE_RULES: &[Rule] = &[
    allow("forking a worker into the pid namespace of its box", &["setns", "clone3"]),
    allow(
        "a worker gives up ids and privileges, and checks that they are gone",
        &["setresuid", "setresgid", "capset", "prctl", "sethostname"],
    ),
    allow(
        "a worker restricts itself",
        &["seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"],
    ),
    when("the worker's probe of its own filter must not be answered by this one", &["vhangup"], &[], Action::Refuse),
];

/// The table.
pub const RULES: &[Rule] = &[
    allow(
        "reading and writing open files",
        &[
            "read",
            "write",
            "readv",
            "writev",
            "pread64",
            "pwrite64",
            "preadv",
            "pwritev",
            "preadv2",
            "pwritev2",
            "lseek",
            "sendfile",
            "copy_file_range",
            "close",
            "close_range",
            "fsync",
            "fdatasync",
            "sync_file_range",
            "ftruncate",
            "truncate",
            "fallocate",
            "fadvise64",
            "readahead",
            "flock",
        ],
    ),
    allow(
        "opening, naming and describing files; mounts decide what there is",
        &[
            "open",
            "openat",
            "openat2",
            "creat",
            "access",
            "faccessat",
            "faccessat2",
            "stat",
            "lstat",
            "fstat",
            "newfstatat",
            "statx",
            "statfs",
            "fstatfs",
            "getcwd",
            "chdir",
            "fchdir",
            "getdents",
            "getdents64",
            "mkdir",
            "mkdirat",
            "rmdir",
            "rename",
            "renameat",
            "renameat2",
            "unlink",
            "unlinkat",
            "link",
            "linkat",
            "symlink",
            "symlinkat",
            "readlink",
            "readlinkat",
            "chmod",
            "fchmod",
            "fchmodat",
            "fchmodat2",
            "chown",
            "fchown",
            "lchown",
            "fchownat",
            "umask",
            "utime",
            "utimes",
            "futimesat",
            "utimensat",
            "getxattr",
            "lgetxattr",
            "fgetxattr",
            "listxattr",
            "llistxattr",
            "flistxattr",
            "setxattr",
            "lsetxattr",
            "fsetxattr",
            "removexattr",
            "lremovexattr",
            "fremovexattr",
        ],
    ),
    when(
        "FIFOs and sockets in the writable folders; devices would need a capability anyway",
        &["mknod"],
        &[Condition::MaskedOneOf(1, PERMISSIONS, NODE_TYPES)],
        Action::Allow,
    ),
    when(
        "the same with a folder's descriptor",
        &["mknodat"],
        &[Condition::MaskedOneOf(2, PERMISSIONS, NODE_TYPES)],
        Action::Allow,
    ),
    allow(
        "descriptors, pipes and waiting on them",
        &[
            "dup",
            "dup2",
            "dup3",
            "pipe",
            "pipe2",
            "poll",
            "ppoll",
            "select",
            "pselect6",
            "epoll_create",
            "epoll_create1",
            "epoll_ctl",
            "epoll_wait",
            "epoll_pwait",
            "epoll_pwait2",
            "eventfd",
            "eventfd2",
            "signalfd",
            "signalfd4",
            "timerfd_create",
            "timerfd_settime",
            "timerfd_gettime",
        ],
    ),
    when(
        "duplicating, flags, locks, pipe size, seals; not leases and F_NOTIFY, which watch files that others share",
        &["fcntl"],
        // DUPFD, GET/SETFD, GET/SETFL, GET/SETLK(W), SET/GETOWN, SET/GETSIG, SET/GETOWN_EX, OFD locks, DUPFD_QUERY,
        // DUPFD_CLOEXEC, SET/GETPIPE_SZ, ADD/GET_SEALS, read and write hints
        &[Condition::OneOf(
            1,
            &[
                0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 36, 37, 38, 1027, 1030, 1031, 1032, 1033, 1034, 1035,
                1036, 1037, 1038,
            ],
        )],
        Action::Allow,
    ),
    quiet("any other: what an older kernel says", &["fcntl"], libc::EINVAL),
    quiet(
        "inotify counts against whoever started the engine, and watches files that executions share",
        &["inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch"],
        libc::ENOSYS,
    ),
    quiet(
        "flushing whole filesystems is the host's business; a program's own files have fsync",
        &["sync", "syncfs"],
        libc::EPERM,
    ),
    when(
        "memory, but no pages of the host's pool of huge ones, which no memory limit covers",
        &["mmap"],
        &[Condition::Clear(3, MAP_HUGETLB)],
        Action::Allow,
    ),
    quiet("none left", &["mmap"], libc::ENOMEM),
    when("the same as a file", &["memfd_create"], &[Condition::Clear(1, MFD_HUGETLB)], Action::Allow),
    quiet("what a kernel without huge pages says", &["memfd_create"], libc::EINVAL),
    when(
        "what isatty, select and subprocess ask of a descriptor",
        &["ioctl"],
        // TCGETS, TCGETS2, TIOCGWINSZ, TIOCGPGRP, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FIOASYNC
        &[Condition::OneOf(1, &[0x5401, 0x802C_542A, 0x5413, 0x540F, 0x541B, 0x5421, 0x5450, 0x5451, 0x5452])],
        Action::Allow,
    ),
    when(
        "typing into a terminal (CVE-2017-5226, CVE-2023-28100) and its line discipline",
        &["ioctl"],
        &[Condition::OneOf(1, &[0x5412, 0x541C, 0x5423])],
        Action::Refuse,
    ),
    quiet("any other request: what a descriptor says that does not know it", &["ioctl"], libc::ENOTTY),
    allow(
        "memory",
        &[
            "munmap",
            "mremap",
            "mprotect",
            "pkey_mprotect",
            "pkey_alloc",
            "pkey_free",
            "madvise",
            "mincore",
            "msync",
            "mlock",
            "mlock2",
            "munlock",
            "mlockall",
            "munlockall",
            "brk",
            "membarrier",
            "map_shadow_stack",
            "mseal",
            "riscv_hwprobe",
        ],
    ),
    quiet(
        "OpenBLAS and libnuma try to place memory and live without; a kill here broke others",
        &["mbind", "set_mempolicy", "get_mempolicy", "set_mempolicy_home_node"],
        libc::EPERM,
    ),
    allow(
        "programs, processes and threads of the sandbox's own pid namespace",
        &[
            "execve",
            "execveat",
            "exit",
            "exit_group",
            "fork",
            "vfork",
            "wait4",
            "waitid",
            "kill",
            "tkill",
            "tgkill",
            "rt_sigqueueinfo",
            "rt_tgsigqueueinfo",
            "pidfd_open",
            "pidfd_send_signal",
            "set_tid_address",
            "gettid",
            "getpid",
            "getppid",
            "getpgid",
            "getpgrp",
            "setpgid",
            "getsid",
            "setsid",
            "rseq",
            "get_robust_list",
            "set_robust_list",
            "futex",
            "futex_waitv",
            "futex_wake",
            "futex_wait",
            "futex_requeue",
            "restart_syscall",
        ],
    ),
    when(
        "processes and threads, but no new namespaces, and no children of somebody else's: a forked program's parent is \
         the launcher",
        &["clone"],
        &[Condition::Clear(0, NEW_NAMESPACES | CLONE_PARENT)],
        Action::Allow,
    ),
    quiet(
        "its flags are behind a pointer, where no filter sees them; glibc falls back to clone on ENOSYS, not on EPERM",
        &["clone3"],
        libc::ENOSYS,
    ),
    allow(
        "signals and timers",
        &[
            "rt_sigaction",
            "rt_sigprocmask",
            "rt_sigreturn",
            "rt_sigpending",
            "rt_sigsuspend",
            "rt_sigtimedwait",
            "sigaltstack",
            "pause",
            "alarm",
            "setitimer",
            "getitimer",
            "timer_create",
            "timer_settime",
            "timer_gettime",
            "timer_getoverrun",
            "timer_delete",
            "nanosleep",
            "clock_nanosleep",
        ],
    ),
    allow("time", &["clock_gettime", "clock_getres", "gettimeofday", "time", "times"]),
    when(
        "pid 1 of the sandbox is not the program's to slow down: its death is everybody's",
        &["sched_setaffinity"],
        &[Condition::OneOf(0, &[1])],
        Action::Refuse,
    ),
    when(
        "on which CPUs its threads and processes run",
        &["sched_setaffinity"],
        &[Condition::Clear(0, UPPER_HALF)],
        Action::Allow,
    ),
    when("the same as for the CPUs", &["setpriority"], &[Condition::OneOf(1, &[1])], Action::Refuse),
    when(
        "being nice: a thread, a process or a group of processes, but not all of the user's, of which pid 1 is one",
        &["setpriority"],
        &[Condition::OneOf(0, &[0, 1]), Condition::Clear(1, UPPER_HALF)],
        Action::Allow,
    ),
    allow(
        "scheduling of its own threads, within its CPU share",
        &[
            "sched_yield",
            "sched_getaffinity",
            "sched_getparam",
            "sched_getscheduler",
            "sched_get_priority_max",
            "sched_get_priority_min",
            "sched_rr_get_interval",
            "sched_getattr",
            "getpriority",
            "getcpu",
            "ioprio_get",
        ],
    ),
    quiet(
        "real-time scheduling and I/O priority: thread pools try and live without",
        &["sched_setparam", "sched_setscheduler", "sched_setattr", "ioprio_set"],
        libc::EPERM,
    ),
    allow(
        "who and where it is",
        &[
            "getuid",
            "geteuid",
            "getgid",
            "getegid",
            "getresuid",
            "getresgid",
            "getgroups",
            "capget",
            "uname",
            "sysinfo",
            "getrandom",
            "getrusage",
            "getrlimit",
        ],
    ),
    when(
        "asking for its own limits",
        &["prlimit64"],
        &[Condition::OneOf(0, &[0]), Condition::OneOf(2, &[0])],
        Action::Allow,
    ),
    when(
        "lowering its own limits, but for core dumps: at 0 the kernel starts the host's crash handler, as root",
        &["prlimit64"],
        &[Condition::OneOf(0, &[0]), Condition::OneOf(1, LIMITS_BUT_CORE)],
        Action::Allow,
    ),
    when("the same", &["setrlimit"], &[Condition::OneOf(0, LIMITS_BUT_CORE)], Action::Allow),
    when(
        "core dumps are off already, as programs that set this want",
        &["prlimit64"],
        &[Condition::OneOf(0, &[0])],
        Action::Quiet(libc::EPERM),
    ),
    quiet("the same", &["setrlimit"], libc::EPERM),
    when(
        "names of threads, signal at the parent's death, its own dumpable flag, questions",
        &["prctl"],
        // SET/GET_PDEATHSIG, GET/SET_DUMPABLE, SET/GET_NAME, GET_SECCOMP, CAPBSET_READ, GET_SECUREBITS,
        // SET/GET_TIMERSLACK, SET/GET_CHILD_SUBREAPER, SET/GET_NO_NEW_PRIVS, GET_TID_ADDRESS, SET/GET_THP_DISABLE,
        // SET_VMA
        &[Condition::OneOf(0, &[1, 2, 3, 4, 15, 16, 21, 23, 27, 29, 30, 36, 37, 38, 39, 40, 41, 42, 0x5356_4D41])],
        Action::Allow,
    ),
    when(
        "PR_SET_SECCOMP, PR_SET_SECUREBITS, PR_SET_MM, PR_CAP_AMBIENT, PR_SET_PTRACER",
        &["prctl"],
        &[Condition::OneOf(0, &[22, 28, 35, 47, 0x5961_6D61])],
        Action::Refuse,
    ),
    quiet("any other option: what an older kernel says", &["prctl"], libc::EINVAL),
    when(
        "thread-local storage; permission for large registers, which oneDNN and OpenBLAS ask for",
        &["arch_prctl"],
        // SET_GS, SET_FS, GET_FS, GET_GS, GET/REQ_XCOMP_*, CET status
        &[Condition::OneOf(0, &[0x1001, 0x1002, 0x1003, 0x1004, 0x1021, 0x1022, 0x1023, 0x1024, 0x1025, 0x3001])],
        Action::Allow,
    ),
    quiet("any other: what an older kernel says", &["arch_prctl"], libc::EINVAL),
    when(
        "which personality: asking, and the default one",
        &["personality"],
        &[Condition::OneOf(0, &[0, 0xFFFF_FFFF])],
        Action::Allow,
    ),
    when(
        "sockets within the sandbox: its own loopback and its own folders",
        &["socket"],
        &[
            Condition::OneOf(0, &[AF_UNIX, AF_INET, AF_INET6]),
            Condition::MaskedOneOf(1, SOCKET_FLAGS, SOCKET_TYPES),
            Condition::OneOf(2, PROTOCOLS),
        ],
        Action::Allow,
    ),
    when(
        "getaddrinfo and psutil ask the kernel for interfaces and live without",
        &["socket"],
        &[Condition::OneOf(0, &[AF_NETLINK])],
        Action::Quiet(libc::EAFNOSUPPORT),
    ),
    when("multiprocessing and asyncio", &["socketpair"], &[Condition::OneOf(0, &[AF_UNIX])], Action::Allow),
    allow(
        "using sockets",
        &[
            "bind",
            "listen",
            "accept",
            "accept4",
            "connect",
            "shutdown",
            "getsockname",
            "getpeername",
            "getsockopt",
            "sendto",
            "recvfrom",
            "sendmsg",
            "recvmsg",
            "sendmmsg",
            "recvmmsg",
        ],
    ),
    when(
        "options of sockets: sizes, times, addresses",
        &["setsockopt"],
        &[Condition::OneOf(1, &[SOL_SOCKET]), Condition::OneOf(2, SOCKET_OPTIONS)],
        Action::Allow,
    ),
    when(
        "options of TCP",
        &["setsockopt"],
        &[Condition::OneOf(1, &[IPPROTO_TCP]), Condition::OneOf(2, TCP_OPTIONS)],
        Action::Allow,
    ),
    when(
        "options of IPv4",
        &["setsockopt"],
        &[Condition::OneOf(1, &[IPPROTO_IP]), Condition::OneOf(2, IPV4_OPTIONS)],
        Action::Allow,
    ),
    when(
        "options of IPv6",
        &["setsockopt"],
        &[Condition::OneOf(1, &[IPPROTO_IPV6]), Condition::OneOf(2, IPV6_OPTIONS)],
        Action::Allow,
    ),
    quiet(
        "any other, as an older kernel says: filters of sockets, keys of TCP, groups and flow labels take memory of the \
         kernel that is charged to nobody, or that the host has once for all",
        &["setsockopt"],
        libc::ENOPROTOOPT,
    ),
    quiet(
        "self-sandboxing and newer questions about mounts: as on a kernel without them",
        &[
            "landlock_create_ruleset",
            "landlock_add_rule",
            "landlock_restrict_self",
            "statmount",
            "listmount",
            "cachestat",
            "remap_file_pages",
            "rseq_slice_yield",
        ],
        libc::ENOSYS,
    ),
    quiet(
        "the engine's own probe that the filter is in force: an answer that no kernel gives",
        &["vhangup"],
        libc::EDOM,
    ),
];
