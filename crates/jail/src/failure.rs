//! What went wrong while a sandbox was set up: the step, the object and the kernel's answer.
//!
//! It crosses process boundaries as data, never as prose.

use std::{fmt, io};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A step of setting up the engine or a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SetupStep {
    /// Talk to the process on the other side of a channel.
    Channel,
    /// Clone a process into new namespaces.
    CreateNamespaces,
    /// Map user and group ids into a user namespace.
    MapIdentity,
    /// Take on the mapped user and group id.
    SetIdentity,
    /// Open a file or folder of the host that the root shows.
    OpenSource,
    /// Make the read-only root.
    BuildRoot,
    /// Make the root of the host unreachable.
    PivotRoot,
    /// Mount /proc.
    MountProc,
    /// Join the sandbox's cgroups.
    JoinCgroup,
    /// Bring up the loopback interface and bound what it holds.
    ConfigureLoopback,
    /// Set the host name.
    SetHostname,
    /// Mount the writable folders.
    MountScratch,
    /// Write the program into the sandbox.
    WriteProgram,
    /// Drop capabilities and the right to gain any.
    DropPrivileges,
    /// Set resource limits of the process.
    SetResourceLimits,
    /// Place file descriptors.
    PlaceDescriptors,
    /// Restrict file access with Landlock.
    RestrictFiles,
    /// Install the seccomp filter.
    InstallSeccomp,
    /// Check that what was locked is locked.
    VerifyLocks,
    /// Start the program.
    Execute,
}

impl fmt::Display for SetupStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Channel => "talk to the sandbox's processes",
            Self::CreateNamespaces => "create namespaces",
            Self::MapIdentity => "map user and group ids",
            Self::SetIdentity => "take on the sandbox's user id",
            Self::OpenSource => "open a file of the host for the sandbox's root",
            Self::BuildRoot => "build the read-only root",
            Self::PivotRoot => "leave the host's root",
            Self::MountProc => "mount a private /proc",
            Self::JoinCgroup => "join the sandbox's cgroup",
            Self::ConfigureLoopback => "bring up the loopback interface",
            Self::SetHostname => "set the host name",
            Self::MountScratch => "mount the writable folders",
            Self::WriteProgram => "write the program into the sandbox",
            Self::DropPrivileges => "drop privileges",
            Self::SetResourceLimits => "set process limits",
            Self::PlaceDescriptors => "place file descriptors",
            Self::RestrictFiles => "restrict file access with Landlock",
            Self::InstallSeccomp => "install the seccomp filter",
            Self::VerifyLocks => "verify the locks",
            Self::Execute => "start the program",
        })
    }
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("could not {step} (`{object}`): {}", io::Error::from_raw_os_error(*errno))]
pub struct SetupFailure {
    /// Which step.
    pub step: SetupStep,
    /// On what: a path, a namespace, a limit.
    pub object: String,
    /// The kernel's answer.
    pub errno: i32,
}

impl SetupFailure {
    pub(crate) fn new(step: SetupStep, object: impl fmt::Display, errno: Errno) -> Self {
        Self { step, object: object.to_string(), errno: errno.raw_os_error() }
    }
}

/// Names the step and the object of an operation that may fail.
pub(crate) trait During<T> {
    fn during(self, step: SetupStep, object: impl fmt::Display) -> Result<T, SetupFailure>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, step: SetupStep, object: impl fmt::Display) -> Result<T, SetupFailure> {
        self.map_err(|errno| SetupFailure::new(step, object, errno))
    }
}

impl<T> During<T> for io::Result<T> {
    fn during(self, step: SetupStep, object: impl fmt::Display) -> Result<T, SetupFailure> {
        self.map_err(|error| SetupFailure::new(step, object, Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }
}
