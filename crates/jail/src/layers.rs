//! The layers of a sandbox, by name, and whether each is set up: all of them are.
//!
//! Only a build with the feature `layer-trials` can leave layers out. `cargo xtask layers` makes such a build, in a
//! folder of its own, and shows with it which attacks a layer stops that no other does. What it runs is reported as the
//! reduced tier, with the layers that were left out as missing.

/// A layer that can be left out on trial.
///
/// Not in the list is what the rest is made of: the engine's own namespaces and a sandbox's mount namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A user namespace of the sandbox's own. Without it, it is another user of the engine's.
    UserNamespace,
    /// A pid namespace of its own, and with it the /proc of that. Without it, it sees the engine's.
    PidNamespace,
    /// A network namespace of its own. Without it, it is in the host's.
    NetworkNamespace,
    /// An ipc namespace of its own.
    IpcNamespace,
    /// A uts namespace of its own: the host's name.
    UtsNamespace,
    /// A cgroup namespace of its own.
    CgroupNamespace,
    /// A root that shows only what a program needs. Without it, it shows the other folders of the host's root as well.
    OwnRoot,
    /// A root that is read-only.
    ReadOnlyRoot,
    /// Mounts that honour neither set-user-id bits nor devices.
    HarmlessMounts,
    /// A /dev of five memory devices. Without it, it is the host's.
    OwnDevices,
    /// A /proc that shows only own processes, and nothing else of the kernel.
    RestrictedProc,
    /// Inherited descriptors are closed.
    ClosedDescriptors,
    /// A session of its own.
    OwnSession,
    /// Limits of each process.
    ProcessLimits,
    /// Environment variables built from nothing.
    OwnEnvironment,
    /// No capabilities, and none to gain.
    NoCapabilities,
    /// Pid 1 cannot be read or traced.
    UnreadableInit,
    /// Landlock.
    Landlock,
    /// The filter of system calls.
    Seccomp,
    /// The memory limit.
    MemoryLimit,
    /// The limit of processes.
    PidsLimit,
    /// The CPU share.
    CpuLimit,
    /// The limits of bytes and files on disk.
    DiskLimit,
}

impl Layer {
    /// All of them, outermost first.
    pub const ALL: [Self; 23] = [
        Self::MemoryLimit,
        Self::PidsLimit,
        Self::CpuLimit,
        Self::DiskLimit,
        Self::OwnRoot,
        Self::ReadOnlyRoot,
        Self::HarmlessMounts,
        Self::OwnDevices,
        Self::UserNamespace,
        Self::PidNamespace,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::CgroupNamespace,
        Self::RestrictedProc,
        Self::UnreadableInit,
        Self::NoCapabilities,
        Self::ClosedDescriptors,
        Self::OwnSession,
        Self::ProcessLimits,
        Self::OwnEnvironment,
        Self::Landlock,
        Self::Seccomp,
    ];

    /// Its name, as documents and the variable of a trial have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UserNamespace => "userNamespace",
            Self::PidNamespace => "pidNamespace",
            Self::NetworkNamespace => "networkNamespace",
            Self::IpcNamespace => "ipcNamespace",
            Self::UtsNamespace => "utsNamespace",
            Self::CgroupNamespace => "cgroupNamespace",
            Self::OwnRoot => "ownRoot",
            Self::ReadOnlyRoot => "readOnlyRoot",
            Self::HarmlessMounts => "harmlessMounts",
            Self::OwnDevices => "ownDevices",
            Self::RestrictedProc => "restrictedProc",
            Self::ClosedDescriptors => "closedDescriptors",
            Self::OwnSession => "ownSession",
            Self::ProcessLimits => "processLimits",
            Self::OwnEnvironment => "ownEnvironment",
            Self::NoCapabilities => "noCapabilities",
            Self::UnreadableInit => "unreadableInit",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::MemoryLimit => "memoryLimit",
            Self::PidsLimit => "pidsLimit",
            Self::CpuLimit => "cpuLimit",
            Self::DiskLimit => "diskLimit",
        }
    }
}

/// Whether `layer` is set up.
#[cfg(not(feature = "layer-trials"))]
pub const fn is_on(_layer: Layer) -> bool {
    true
}

#[cfg(feature = "layer-trials")]
pub use trials::{WITHOUT, is_on};

#[cfg(feature = "layer-trials")]
mod trials {
    use super::Layer;

    /// The variable that names the layers to leave out, separated by commas. The engine's processes inherit it.
    pub const WITHOUT: &str = "AEVATAR_SANDBOX_WITHOUT_LAYERS";

    /// Whether `layer` is set up.
    ///
    /// # Panics
    /// [`WITHOUT`] names something that is no layer: a trial of nothing would prove nothing.
    pub fn is_on(layer: Layer) -> bool {
        let Ok(without) = std::env::var(WITHOUT) else { return true };
        for name in without.split(',') {
            assert!(Layer::ALL.iter().any(|layer| layer.name() == name), "{WITHOUT}: there is no layer {name:?}");
        }
        !without.split(',').any(|name| name == layer.name())
    }
}

/// The layers that are left out: none, but on trial.
pub fn left_out() -> Vec<Layer> {
    Layer::ALL.into_iter().filter(|layer| !is_on(*layer)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_build_leaves_nothing_out_and_every_layer_has_a_name_of_its_own() {
        assert_eq!(left_out(), []);
        let mut names: Vec<&str> = Layer::ALL.iter().map(|layer| layer.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Layer::ALL.len());
    }
}
