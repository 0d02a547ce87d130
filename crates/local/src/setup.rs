//! What this host gives, and what is said about it in results and refusals.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use aevatar_sandbox_contract::{
    ErrorCode, IsolationLayer, IsolationReport, IsolationTier, LayerState, ResourceLimits, SandboxError,
};
use aevatar_sandbox_jail::{
    EngineError, SetupFailure, SetupStep,
    cgroup::CgroupError,
    layers,
    spec::{EngineReport, Identity, ScratchBacking},
};
use rustix::io::Errno;

/// How the operator accepts less than the default tier.
const ACCEPT: &str = "accept the weaker tier with `--isolation reduced`";

/// A number of its own for each backend of a process, spread so that neighbouring processes do not meet it.
fn next_backend() -> u32 {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    COUNTER.fetch_add(1031, Ordering::Relaxed)
}

/// Which ids the engine takes on the host.
pub(crate) fn choose_identity() -> Identity {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let own = Identity::Own { uid: uid.as_raw(), gid: gid.as_raw() };
    // Far above what distributions give to users and subuids, another range for each server.
    let base = 0x7000_0000 + ((std::process::id() + next_backend()) & 0x7FF) * Identity::RANGE;
    let mapped = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let holds_range = mapped.lines().any(|line| {
        let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        matches!(fields[..], [inside, _, count]
            if inside <= u64::from(base) && u64::from(base) + u64::from(Identity::RANGE) <= inside + count)
    });
    let privileged = rustix::thread::capabilities(None).is_ok_and(|sets| {
        use rustix::thread::CapabilitySet;
        sets.effective.contains(CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SYS_ADMIN)
    });
    if uid.is_root() && privileged && holds_range { Identity::Range { base } } else { own }
}

/// The layers of one sandbox, outermost first.
pub(crate) struct Layers<'a> {
    pub(crate) tier: IsolationTier,
    pub(crate) identity: Identity,
    pub(crate) engine: &'a EngineReport,
    pub(crate) cgroups: Result<(), &'a CgroupError>,
    pub(crate) scratch: ScratchBacking,
    pub(crate) limits: &'a ResourceLimits,
    /// Why there are no disk images, if there are none.
    pub(crate) no_disk: Option<String>,
}

impl Layers<'_> {
    pub(crate) fn report(&self) -> IsolationReport {
        let mut layers = vec![
            enforced("namespaces", "user, pid, mount, network, ipc, uts and cgroup namespace of its own"),
            enforced(NETWORK, "a loopback of its own with small buffers; at most 32 connections wait for accept"),
            enforced("root", "read-only binds of the interpreter, its libraries and packages; host root detached"),
            self.uid(),
            self.proc(),
            enforced("capabilities", "none, none to gain: no_new_privs"),
            enforced("seccomp", "allow-list; unwanted system calls fail with EPERM and are named"),
            self.landlock(),
        ];
        layers.extend(self.cgroups());
        layers.push(self.disk());
        let left_out = layers::left_out();
        layers.extend(left_out.iter().map(|layer| {
            lesser(layer.name(), LayerState::Missing, "left out on trial".to_owned(), "use an ordinary build")
        }));
        let whole = layers.iter().all(|layer| layer.state != LayerState::Missing || layer.name == "landlock");
        let tier = match (whole, left_out.is_empty()) {
            (true, _) => IsolationTier::Default,
            (false, true) => self.tier,
            (false, false) => IsolationTier::Reduced,
        };
        IsolationReport { backend: "local".to_owned(), tier, layers }
    }

    fn uid(&self) -> IsolationLayer {
        match self.identity {
            Identity::Range { .. } => enforced("uid", "a host uid of its own for each execution"),
            Identity::Own { uid, .. } => lesser(
                "uid",
                LayerState::Weaker,
                format!("host uid {uid}, shared by all executions of this user"),
                "run the service as root: it takes an unused range of ids and gives each execution one",
            ),
        }
    }

    fn proc(&self) -> IsolationLayer {
        match &self.engine.proc_failure {
            None => enforced("proc", "own processes only (subset=pid, hidepid)"),
            Some(failure) => lesser("proc", LayerState::Missing, format!("no /proc inside: {failure}"), PROC_FIX),
        }
    }

    fn landlock(&self) -> IsolationLayer {
        match self.engine.landlock_abi {
            0 => lesser(
                "landlock",
                LayerState::Missing,
                "the kernel has no Landlock".to_owned(),
                "boot a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` in its `lsm=` list",
            ),
            abi => enforced("landlock", format!("ABI {abi}: writing only in the writable folders")),
        }
    }

    fn cgroups(&self) -> Vec<IsolationLayer> {
        let limits = self.limits;
        let layer = |name: &str, detail: String| match self.cgroups {
            Ok(()) => enforced(name, detail),
            Err(error) => lesser(name, LayerState::Missing, format!("not limited: {error}"), error.hint()),
        };
        vec![
            layer("memoryCgroup", format!("{} with tmpfs, memfd, pipes and sockets; no swap", limits.memory_limit)),
            layer("pidsCgroup", format!("{} processes and threads", limits.process_limit)),
            layer("cpuCgroup", format!("{} CPU", limits.cpu_limit)),
        ]
    }

    fn disk(&self) -> IsolationLayer {
        match self.scratch {
            ScratchBacking::Mount => enforced("disk", format!("{} in an ext4 image", self.limits.disk_limit)),
            ScratchBacking::Tmpfs { bytes, .. } => {
                let detail = format!("{bytes} bytes in a tmpfs, charged to the memory limit");
                match &self.no_disk {
                    None => enforced("disk", detail),
                    Some(reason) => lesser(
                        "disk",
                        LayerState::Weaker,
                        format!("{detail}: {reason}"),
                        "run as root with `mkfs.ext4` (package e2fsprogs) and loop devices",
                    ),
                }
            }
        }
    }
}

/// The layer that [`note_unbounded_connections`] weakens.
const NETWORK: &str = "network";

/// Says of a sandbox that its kernel did not let it bound what waits for `accept`.
pub(crate) fn note_unbounded_connections(report: &mut IsolationReport) {
    if let Some(layer) = report.layers.iter_mut().find(|layer| layer.name == NETWORK) {
        *layer = lesser(
            NETWORK,
            LayerState::Weaker,
            "a loopback of its own; what arrives on connections that nobody accepts is charged to nobody".to_owned(),
            "a newer kernel shows `net.core.somaxconn` to user namespaces (6.12 does, 6.1 does not)",
        );
    }
}

const PROC_FIX: &str = "the host's /proc is covered in places, as in a container: run outside of one, or give the container an unmasked /proc (docker: `--security-opt systempaths=unconfined`)";

fn enforced(name: &str, detail: impl Into<String>) -> IsolationLayer {
    IsolationLayer { name: name.to_owned(), state: LayerState::Enforced, detail: detail.into(), fix: None }
}

fn lesser(name: &str, state: LayerState, detail: String, fix: &str) -> IsolationLayer {
    IsolationLayer { name: name.to_owned(), state, detail, fix: Some(fix.to_owned()) }
}

/// The refusal for want of cgroups.
pub(crate) fn no_cgroups(error: &CgroupError) -> SandboxError {
    SandboxError::new(
        ErrorCode::IsolationUnavailable,
        format!(
            "this host cannot limit memory, CPU and processes (layers memoryCgroup, cpuCgroup, pidsCgroup): {error}"
        ),
    )
    .with_hint(format!("{}; or {ACCEPT}", error.hint()))
}

/// The refusal for want of /proc.
pub(crate) fn no_proc(failure: &SetupFailure) -> SandboxError {
    SandboxError::new(
        ErrorCode::IsolationUnavailable,
        format!("this host gives a sandbox no /proc of its own (layer proc): {failure}"),
    )
    .with_hint(format!("{PROC_FIX}; or {ACCEPT}"))
}

/// Where Ubuntu's kernels say whether AppArmor restricts the user namespaces of ordinary users.
const APPARMOR_SWITCH: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

const APPARMOR_FIX: &str = "AppArmor restricts user namespaces of ordinary users on this host (kernel.apparmor_restrict_unprivileged_userns is 1, as on Ubuntu): allow them to this binary, with a profile that has `userns,` (packaging/apparmor/aevatar-sandbox is one; put it into /etc/apparmor.d and load it with `apparmor_parser -r`); or to everybody, with `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`";

/// Whether AppArmor gives ordinary users no user namespaces, or such without privileges. `switch` is the kernel's file.
fn apparmor_restricts(switch: &Path) -> bool {
    std::fs::read_to_string(switch).is_ok_and(|value| value.trim() == "1")
}

/// An engine that did not start.
pub(crate) fn engine_failed(error: EngineError, identity: Identity) -> SandboxError {
    let EngineError::Setup(failure) = &error else {
        return SandboxError::new(ErrorCode::SandboxFailure, "the sandbox engine did not start")
            .with_hint("a program that embeds the library must call `enter_if_requested()` first in `main`, before it starts any thread")
            .with_source(error);
    };
    let rootless = matches!(identity, Identity::Own { .. });
    let hint = engine_hint(failure, rootless, rootless && apparmor_restricts(Path::new(APPARMOR_SWITCH)));
    let code = match failure.step {
        SetupStep::CreateNamespaces | SetupStep::BuildRoot | SetupStep::PivotRoot | SetupStep::MapIdentity => {
            ErrorCode::IsolationUnavailable
        }
        _ => ErrorCode::SandboxFailure,
    };
    let layer =
        if failure.step == SetupStep::CreateNamespaces { " (layer namespaces; no tier does without it)" } else { "" };
    let refused =
        SandboxError::new(code, format!("the sandbox engine did not start{layer}: {failure}")).with_source(error);
    match hint {
        Some(hint) => refused.with_hint(hint),
        None => refused,
    }
}

/// What the operator can do about an engine that did not start.
fn engine_hint(failure: &SetupFailure, rootless: bool, by_apparmor: bool) -> Option<&'static str> {
    match (failure.step, Errno::from_raw_os_error(failure.errno)) {
        (
            SetupStep::CreateNamespaces | SetupStep::BuildRoot | SetupStep::PivotRoot | SetupStep::MapIdentity,
            Errno::ACCESS | Errno::PERM,
        ) if by_apparmor => Some(APPARMOR_FIX),
        (SetupStep::CreateNamespaces, Errno::NOSPC) => {
            Some("this host allows no user namespaces: `sysctl user.max_user_namespaces` is 0 or used up")
        }
        (SetupStep::CreateNamespaces, Errno::PERM | Errno::INVAL) if rootless => Some(
            "unprivileged user namespaces are off: `sysctl -w kernel.unprivileged_userns_clone=1` (Debian), or a seccomp profile of the surrounding container that allows clone3, unshare, setns and mount; or run as root",
        ),
        (SetupStep::CreateNamespaces, Errno::NOSYS | Errno::PERM) => Some(
            "the surrounding container's seccomp profile refuses clone3 with new namespaces: run outside, or with a profile that allows clone3, unshare, setns and mount",
        ),
        (SetupStep::BuildRoot | SetupStep::PivotRoot | SetupStep::MapIdentity, Errno::ACCESS | Errno::PERM)
            if rootless =>
        {
            Some(
                "user namespaces come without privileges here, as under Ubuntu's AppArmor restriction: `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, or an AppArmor profile for this binary with `userns,`",
            )
        }
        (SetupStep::OpenSource, Errno::ACCESS | Errno::PERM) => Some(
            "the path named above is private to somebody else, or a copied cache names it: make it readable, or choose another cache with AEVATAR_SANDBOX_CACHE; where user namespaces come without privileges (Ubuntu's AppArmor restriction), `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
        ),
        (SetupStep::OpenSource, Errno::NOENT) => {
            Some("the environment names a file that is gone: `aevatar-sandbox env remove default`, then `env prepare`")
        }
        _ => None,
    }
}

/// A sandbox that could not be set up.
pub(crate) fn sandbox_failed(failure: SetupFailure) -> SandboxError {
    let is_full = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG].iter().any(|errno| errno.raw_os_error() == failure.errno);
    if failure.step == SetupStep::WriteProgram && is_full {
        return SandboxError::new(
            ErrorCode::InvalidRequest,
            "the program and its `files` do not fit into what the disk limit allows",
        )
        .with_hint("send less, or ask for a larger `diskLimit`; without root it is at most half the memory limit")
        .with_source(failure);
    }
    SandboxError::new(ErrorCode::SandboxFailure, format!("the sandbox was not set up: {failure}"))
        .with_hint("`aevatar-sandbox doctor` tries every layer of this host")
        .with_source(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(step: SetupStep, errno: Errno, rootless: bool, by_apparmor: bool) -> Option<&'static str> {
        let failure = SetupFailure { step, object: "engine".to_owned(), errno: errno.raw_os_error() };
        engine_hint(&failure, rootless, by_apparmor)
    }

    #[test]
    fn the_switch_of_apparmor_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let switch = folder.path().join("apparmor_restrict_unprivileged_userns");
        assert!(!apparmor_restricts(&switch), "a kernel without the switch");
        for (value, restricts) in [("1\n", true), ("0\n", false), ("", false)] {
            std::fs::write(&switch, value).unwrap();
            assert_eq!(apparmor_restricts(&switch), restricts, "{value:?}");
        }
    }

    #[test]
    fn the_restriction_of_apparmor_is_named_with_its_fix() {
        use SetupStep::{BuildRoot, CreateNamespaces, MapIdentity, PivotRoot};
        for step in [CreateNamespaces, BuildRoot, PivotRoot, MapIdentity] {
            for errno in [Errno::ACCESS, Errno::PERM] {
                let text = hint(step, errno, true, true).unwrap();
                for part in ["AppArmor", "apparmor_restrict_unprivileged_userns=0", "`userns,`", "apparmor_parser"] {
                    assert!(text.contains(part), "{step}, {errno}: {text}");
                }
            }
        }
        // Another cause keeps its own hint.
        assert!(hint(CreateNamespaces, Errno::NOSPC, true, true).unwrap().contains("user.max_user_namespaces"));
        assert!(hint(CreateNamespaces, Errno::PERM, true, false).unwrap().contains("unprivileged_userns_clone"));
        assert!(!hint(CreateNamespaces, Errno::PERM, false, false).unwrap().contains("AppArmor"));
    }
}
