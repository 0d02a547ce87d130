//! What to build, as data: the engine's root, and one sandbox. Built by a pure plan, checked, then performed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One entry of the read-only root. Parents that are not named are made as folders of mode 0755.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootEntry {
    /// An empty folder.
    Directory(PathBuf),
    /// A file with this content, mode 0644.
    File(PathBuf, Vec<u8>),
    /// A symbolic link: where, and to what.
    Symlink(PathBuf, PathBuf),
    /// A file or folder of the host, read-only, nosuid, nodev.
    Bind {
        /// On the host; symbolic links are followed.
        source: PathBuf,
        /// In the root.
        target: PathBuf,
    },
    /// An empty read-only folder over what an earlier entry shows there.
    Cover(PathBuf),
    /// A memory device of the host, checked by its device number.
    Device(MemoryDevice),
}

impl RootEntry {
    /// Where it is in the root.
    pub fn target(&self) -> PathBuf {
        match self {
            Self::Directory(path) | Self::File(path, _) | Self::Symlink(path, _) | Self::Cover(path) => path.clone(),
            Self::Bind { target, .. } => target.clone(),
            Self::Device(device) => device.path(),
        }
    }
}

/// A device of `/dev` that holds no state of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryDevice {
    /// Discards what is written.
    Null,
    /// Zeros without end.
    Zero,
    /// No space left on device.
    Full,
    /// Random bytes.
    Random,
    /// Random bytes.
    Urandom,
}

impl MemoryDevice {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Null, Self::Zero, Self::Full, Self::Random, Self::Urandom];

    /// Its path.
    pub fn path(self) -> PathBuf {
        PathBuf::from(match self {
            Self::Null => "/dev/null",
            Self::Zero => "/dev/zero",
            Self::Full => "/dev/full",
            Self::Random => "/dev/random",
            Self::Urandom => "/dev/urandom",
        })
    }

    /// Its minor number; the major one is 1. Source: the kernel's devices.txt.
    pub(crate) const fn minor(self) -> u32 {
        match self {
            Self::Null => 3,
            Self::Zero => 5,
            Self::Full => 7,
            Self::Random => 8,
            Self::Urandom => 9,
        }
    }
}

/// The host's ids behind the engine's user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Root started the engine: its ids 0 to 65535 are the host's from `base` on, which nobody else uses. Each
    /// sandbox takes one of its own.
    Range {
        /// First id on the host.
        base: u32,
    },
    /// An ordinary user started it: its only id is that user's, and so is every sandbox's.
    Own {
        /// The user's id on the host.
        uid: u32,
        /// The user's group on the host.
        gid: u32,
    },
}

impl Identity {
    /// Ids in a range.
    pub const RANGE: u32 = 65_536;

    /// The uid on the host that a sandbox with `slot` runs as.
    pub const fn host_uid(self, slot: u32) -> u32 {
        match self {
            Self::Range { base } => base + slot,
            Self::Own { uid, .. } => uid,
        }
    }
}

/// The engine: everything that sandboxes of one environment share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineSpec {
    /// The read-only root, parents before children.
    pub root: Vec<RootEntry>,
    /// Who it is on the host.
    pub identity: Identity,
}

/// What the engine found when it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineReport {
    /// Why sandboxes have no /proc of their own, if they have none.
    pub proc_failure: Option<SetupFailureReport>,
    /// Landlock ABI of the kernel; 0 without Landlock.
    pub landlock_abi: u8,
}

/// A failure that does not end the engine.
pub type SetupFailureReport = crate::failure::SetupFailure;

/// Where the writable folders are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScratchBacking {
    /// A tmpfs, charged to the sandbox's memory.
    Tmpfs {
        /// Bytes, rounded up to pages by the kernel.
        bytes: u64,
        /// Files and folders.
        inodes: u64,
    },
    /// The mount that was passed as a descriptor, owned by the sandbox's uid.
    Mount,
}

/// A process limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessLimit {
    /// Size of a core dump. With 1, soft and hard, the kernel makes none: with 0 it still starts the handler that a
    /// piped `core_pattern` names, as root and outside of the sandbox.
    CoreSize,
    /// Size of a file.
    FileSize,
    /// Open descriptors.
    OpenFiles,
    /// CPU seconds of one process: a second line behind the cgroup.
    CpuSeconds,
    /// Locked memory.
    LockedMemory,
    /// Bytes in POSIX message queues.
    MessageQueues,
    /// Queued signals and timers, which the kernel also counts for whoever started the engine.
    PendingSignals,
    /// Processes of the uid: a second line behind the cgroup, where the uid is the sandbox's own.
    Processes,
}

impl ProcessLimit {
    /// Its number, as `setrlimit` takes it.
    pub const fn number(self) -> u32 {
        // The kernel's own, the same on both architectures; asm-generic/resource.h.
        match self {
            Self::CpuSeconds => 0,
            Self::FileSize => 1,
            Self::CoreSize => 4,
            Self::Processes => 6,
            Self::OpenFiles => 7,
            Self::LockedMemory => 8,
            Self::PendingSignals => 11,
            Self::MessageQueues => 12,
        }
    }
}

/// One sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Executable and arguments; the executable is an absolute path in the root.
    pub argv: Vec<String>,
    /// Environment variables, complete.
    pub env: Vec<(String, String)>,
    /// Which id of the engine's range the sandbox takes: 1 to 65535; 0 with [`Identity::Own`].
    pub uid_slot: u32,
    /// Where the writable folders are.
    pub scratch: ScratchBacking,
    /// Symbolic links in the writable folders, made before the program starts: where, and to what.
    pub scratch_links: Vec<(PathBuf, PathBuf)>,
    /// Where the program's source goes.
    pub program_path: PathBuf,
    /// Process limits, soft and hard alike.
    pub process_limits: Vec<(ProcessLimit, u64)>,
    /// Name of the sandbox's cgroup in each hierarchy, to check that it was joined; nothing where there is none.
    pub cgroup_name: Option<String>,
    /// Whether to mount /proc.
    pub proc: bool,
    /// Whether to restrict file access with Landlock.
    pub landlock: bool,
    /// Whether a forked worker does, before it parks, what programs do first.
    pub rehearse: bool,
}

/// The first zygote of a tree: an interpreter that becomes one by what its arguments and variables say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZygoteSpec {
    /// Executable and arguments; the executable is an absolute path in the root.
    pub argv: Vec<String>,
    /// Environment variables, complete.
    pub env: Vec<(String, String)>,
    /// Symbolic links in its own writable folders: where, and to what.
    pub scratch_links: Vec<(PathBuf, PathBuf)>,
}

/// The uid and gid that a program sees itself as.
pub const INNER_ID: u32 = 1000;

/// The writable folders: where they are mounted, and their folder in the scratch filesystem.
pub const WRITABLE: [(&str, &str); 3] = [("/work", "work"), ("/tmp", "tmp"), ("/dev/shm", "shm")];
