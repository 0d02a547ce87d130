//! From an execution plan to a sandbox: pure, so that what a host will do can be read and tested without doing it.

use std::collections::BTreeMap;

use aevatar_sandbox_contract::{ErrorCode, ExecutionPlan, InputFile, IsolationTier, ResourceLimits, SandboxError};
use aevatar_sandbox_jail::{
    cgroup::CgroupLimits,
    disk::MIN_IMAGE,
    layers::{self, Layer},
    spec::{Identity, ProcessLimit, SandboxSpec, ScratchBacking},
};

use crate::layout::{MATPLOTLIB_CACHE, MATPLOTLIB_CONFIGURATION, PROGRAM, PYTHON, scratch_links};

/// What this host can give, as far as a sandbox depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostAbilities {
    pub(crate) identity: Identity,
    pub(crate) cgroups: bool,
    pub(crate) proc: bool,
    pub(crate) landlock: bool,
}

/// Where the writable folders are, and the limits that will be in force, the disk limit being what can be given.
#[derive(Clone, Debug)]
pub(crate) struct ScratchPlan {
    pub(crate) backing: ScratchBacking,
    pub(crate) limits: ResourceLimits,
}

/// A sandbox, ready to be made.
#[derive(Clone, Debug)]
pub(crate) struct SandboxPlan {
    pub(crate) spec: SandboxSpec,
    pub(crate) limits: ResourceLimits,
}

/// Descriptors that a program may hold open.
const OPEN_FILES: u64 = 1024;
/// Memory that a program may lock: what most distributions give.
const LOCKED_MEMORY: u64 = 64 * 1024;
/// Queued signals and timers of a program.
const PENDING_SIGNALS: u64 = 256;
/// Seconds by which the kernel's own CPU limit of one process is later than the supervisor's of all.
const CPU_GRACE: u64 = 2;

/// How much larger than the disk a single file may claim to be: a hole beyond it is of no honest use, and a write past
/// the disk's end shall meet "no space left" first.
const FILE_SIZE_FACTOR: u64 = 4;
/// How many more processes than the cgroup the kernel's limit per uid allows: the cgroup's shall be met first, because
/// only that one is counted in the usage.
const PROCESS_MARGIN: u64 = 16;
/// The smallest average size of a file for which a disk has inodes.
const BYTES_PER_INODE: u64 = 8192;

/// Decides everything about a sandbox whose writable folders are decided.
pub(crate) fn plan(execution: &ExecutionPlan, scratch: ScratchPlan, host: HostAbilities, uid_slot: u32) -> SandboxPlan {
    let limits = scratch.limits;
    let mut process_limits = vec![
        (ProcessLimit::CoreSize, 1),
        (ProcessLimit::FileSize, limits.disk_limit.bytes().saturating_mul(FILE_SIZE_FACTOR)),
        (ProcessLimit::OpenFiles, OPEN_FILES),
        (ProcessLimit::LockedMemory, LOCKED_MEMORY),
        (ProcessLimit::MessageQueues, 0),
        (ProcessLimit::PendingSignals, PENDING_SIGNALS),
    ];
    if let Some(cpu_time) = limits.cpu_time {
        process_limits.push((ProcessLimit::CpuSeconds, cpu_time.as_secs() + CPU_GRACE));
    }
    // Counted per uid: with a shared one, sandboxes would starve each other.
    if matches!(host.identity, Identity::Range { .. }) {
        process_limits.push((ProcessLimit::Processes, u64::from(limits.process_limit) + PROCESS_MARGIN));
    }
    let argv = [PYTHON, PROGRAM].map(str::to_owned).into_iter().chain(execution.args.iter().cloned()).collect();
    SandboxPlan {
        spec: SandboxSpec {
            argv,
            env: environment_variables(execution, &limits).into_iter().collect(),
            uid_slot,
            scratch: scratch.backing,
            scratch_links: scratch_links(&execution.environment),
            program_path: PROGRAM.into(),
            process_limits,
            cgroup_name: host.cgroups.then(|| execution.id.to_string()),
            proc: host.proc,
            landlock: host.landlock,
            rehearse: false,
        },
        limits,
    }
}

/// What the sandbox's cgroups enforce.
pub(crate) fn cgroup_limits(limits: &ResourceLimits) -> CgroupLimits {
    CgroupLimits {
        millicores: limits.cpu_limit.millicores(),
        memory: limits.memory_limit.bytes(),
        // Init counts too, and is not the program's.
        pids: limits.process_limit.saturating_add(1),
    }
}

/// Where the writable folders are, and the limits with the disk limit that follows from it.
///
/// An image on disk can be larger than the memory limit. A tmpfs cannot: its pages are the program's memory, so half
/// of the limit is left to the program itself, and "no space left" comes before "out of memory".
///
/// # Errors
/// A disk limit that was asked for and that this host cannot give in this tier.
pub(crate) fn scratch(
    execution: &ExecutionPlan,
    tier: IsolationTier,
    disk_images: bool,
) -> Result<ScratchPlan, SandboxError> {
    let mut limits = execution.limits.clone();
    if !layers::is_on(Layer::DiskLimit) {
        let backing = ScratchBacking::Tmpfs { bytes: 1 << 40, inodes: 1 << 30 };
        return Ok(ScratchPlan { backing, limits });
    }
    if disk_images && limits.disk_limit.bytes() >= MIN_IMAGE {
        // Each inode takes a part of the disk for itself.
        limits.inode_limit = limits.inode_limit.min(limits.disk_limit.bytes() / BYTES_PER_INODE);
        return Ok(ScratchPlan { backing: ScratchBacking::Mount, limits });
    }
    let largest = (limits.memory_limit.bytes() / 2).max(1);
    if limits.disk_limit.bytes() > largest {
        if !execution.disk_limit_is_default && tier == IsolationTier::Default {
            return Err(SandboxError::new(
                ErrorCode::LimitNotEnforceable,
                format!(
                    "a disk limit of {} cannot be given with a memory limit of {}: without root the writable folders are in memory",
                    limits.disk_limit, limits.memory_limit
                ),
            )
            .with_hint(format!(
                "ask for a disk limit of at most half the memory limit, leave it out, raise the memory limit, run as root with `mkfs.ext4` installed, or accept the smaller one with `--isolation reduced` ({largest} bytes)"
            )));
        }
        if let Some(largest) = aevatar_sandbox_contract::ByteQuantity::from_bytes(largest) {
            limits.disk_limit = largest;
        }
    }
    let backing = ScratchBacking::Tmpfs { bytes: limits.disk_limit.bytes(), inodes: limits.inode_limit };
    Ok(ScratchPlan { backing, limits })
}

/// Words without which no program draws: of matplotlib, of what draws with it, and of pandas' own.
const DRAWING: [&[u8]; 4] = [b"plot", b"pylab", b"seaborn", b"hist"];

/// Whether a program, or a module that it brings, has a word of drawing. A fresh interpreter prepares for figures only
/// then, because that takes an import.
pub(crate) fn may_draw(execution: &ExecutionPlan) -> bool {
    let modules = execution
        .files
        .iter()
        .filter(|file| file.path.strip_suffix(".py").is_some())
        .map(|file| file.content.as_slice());
    let mut texts = std::iter::once(execution.code.as_slice()).chain(modules);
    texts.any(|text| DRAWING.iter().any(|word| text.windows(word.len()).any(|part| part == *word)))
}

/// Bytes and inodes of a disk that input files may need: whole blocks, and one more for each file and folder.
pub(crate) fn needs(inputs: &[InputFile]) -> (u64, u64) {
    const BLOCK: u64 = 4096;
    inputs.iter().fold((0, 0), |(bytes, inodes), input| {
        let own = 1 + input.path.matches('/').count() as u64;
        (bytes + (input.content.len() as u64).next_multiple_of(BLOCK) + own * BLOCK, inodes + own)
    })
}

/// Variables of a zygote: those of a program with one CPU, so that no library starts a thread, and the one by which the
/// guest knows what it is.
pub(crate) fn zygote_variables() -> Vec<(String, String)> {
    let mut variables = fixed_variables(1);
    variables.insert("SANDBOX_ZYGOTE".to_owned(), "1".to_owned());
    variables.into_iter().collect()
}

/// Of a program's variables, those that a zygote has not or has otherwise.
pub(crate) fn zygote_differences(variables: Vec<(String, String)>) -> BTreeMap<String, String> {
    let known = fixed_variables(1);
    variables.into_iter().filter(|(name, value)| known.get(name) != Some(value)).collect()
}

/// The fixed few, then the caller's own on top.
fn environment_variables(execution: &ExecutionPlan, limits: &ResourceLimits) -> BTreeMap<String, String> {
    let mut variables = fixed_variables(limits.cpu_limit.whole_cpus());
    variables.extend(execution.env.clone());
    variables
}

fn fixed_variables(cpus: u32) -> BTreeMap<String, String> {
    // A thread library that starts one thread per CPU of the host, throttled to a share of one, is slower than one
    // with the threads its share can run.
    let cpus = cpus.to_string();
    let fixed = [
        ("PATH", "/opt/python/bin"),
        ("HOME", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
        ("MPLBACKEND", "Agg"),
        ("MPLCONFIGDIR", MATPLOTLIB_CACHE),
        ("MATPLOTLIBRC", MATPLOTLIB_CONFIGURATION),
        ("OMP_NUM_THREADS", &cpus),
        ("OPENBLAS_NUM_THREADS", &cpus),
        ("MKL_NUM_THREADS", &cpus),
        ("NUMEXPR_NUM_THREADS", &cpus),
        ("LOKY_MAX_CPU_COUNT", &cpus),
        ("PYTHON_CPU_COUNT", &cpus),
    ];
    fixed.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{path::PathBuf, time::Duration};

    use aevatar_sandbox_contract::{
        ByteQuantity, DEFAULT_LIMITS, ExecutionId, ImportPolicy, PythonEnvironment, PythonVersion, ZygoteMode,
    };
    use aevatar_sandbox_jail::spec::RootEntry;

    use super::*;
    use crate::layout::{GUEST, root};

    pub(crate) fn environment() -> PythonEnvironment {
        PythonEnvironment {
            name: "default".into(),
            key: "k".into(),
            python: PythonVersion { major: 3, minor: 12, micro: 1 },
            interpreter: "/usr/bin/python3.12".into(),
            standard_library: vec!["/usr/lib/python3.12".into()],
            hidden: vec!["/usr/lib/python3.12/site-packages".into()],
            libraries: vec![(
                "/lib64/ld-linux-x86-64.so.2".into(),
                "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2".into(),
            )],
            needs_loader_cache: false,
            packages: "/cache/packages".into(),
            installed: Vec::new(),
            data: vec!["/usr/share/zoneinfo".into()],
            fonts: vec!["/usr/share/fonts".into()],
            font_fallbacks: vec!["Noto Sans CJK SC".into()],
            font_list: Some(("fontlist-v390.json".into(), "/cache/fontlist-v390.json".into())),
        }
    }

    fn execution() -> ExecutionPlan {
        ExecutionPlan {
            id: ExecutionId::generate(),
            code: b"print('hello')".to_vec(),
            args: vec!["--flag".into()],
            env: BTreeMap::from([("NAME".to_owned(), "value".to_owned())]),
            limits: ResourceLimits { cpu_time: Some(Duration::from_secs(5)), ..DEFAULT_LIMITS },
            disk_limit_is_default: true,
            environment: environment(),
            import_policy: None,
            imports: Vec::new(),
            zygote: ZygoteMode::On,
            files: Vec::new(),
            output_files: None,
        }
    }

    const ROOT: HostAbilities =
        HostAbilities { identity: Identity::Range { base: 0x7000_0000 }, cgroups: false, proc: true, landlock: true };

    #[test]
    fn root_of_an_environment() {
        insta::assert_snapshot!(shown(&root(&environment(), None, None).unwrap()).join("\n"));
    }

    fn shown(entries: &[RootEntry]) -> Vec<String> {
        let show = |entry: &RootEntry| match entry {
            RootEntry::File(path, content) => format!("{} ({} bytes)", path.display(), content.len().min(1)),
            other => format!("{other:?}"),
        };
        entries.iter().map(show).collect()
    }

    fn content(entries: &[RootEntry], name: &str) -> String {
        let found = entries.iter().find_map(|entry| match entry {
            RootEntry::File(path, content) if path.ends_with(name) => Some(content.clone()),
            _ => None,
        });
        String::from_utf8(found.unwrap()).unwrap()
    }

    #[test]
    fn a_policy_adds_its_files_to_the_root() {
        let policy = ImportPolicy {
            allowed: vec!["numpy".to_owned(), "*".to_owned()],
            blocked: vec!["ctypes".to_owned(), "os.path".to_owned()],
        };
        let (with, without) =
            (root(&environment(), Some(&policy), None).unwrap(), root(&environment(), None, None).unwrap());
        let without_policy = shown(&without);
        let added: Vec<String> = shown(&with).into_iter().filter(|entry| !without_policy.contains(entry)).collect();
        let files = ["sandbox.pth", "_sandbox_imports.txt"].map(|name| content(&with, name));
        insta::assert_snapshot!(added.into_iter().chain(files).collect::<Vec<_>>().join("\n"));
        assert_eq!(content(&without, "sandbox.pth"), "import _sandbox_runtime\n");
    }

    #[test]
    fn an_entry_that_is_no_name_of_a_module_is_refused() {
        for entry in ["", "a\nallow b", "a b", " a", "a\u{2028}", "a\r", "a\0"] {
            for (allowed, blocked) in [(vec![entry.to_owned()], Vec::new()), (Vec::new(), vec![entry.to_owned()])] {
                let error = root(&environment(), Some(&ImportPolicy { allowed, blocked }), None).unwrap_err();
                assert_eq!(error.code, ErrorCode::InvalidRequest, "{entry:?}");
            }
        }
    }

    #[test]
    fn sandbox_of_a_root_service() {
        let execution = execution();
        let planned = plan(&execution, scratch(&execution, IsolationTier::Default, true).unwrap(), ROOT, 7);
        insta::assert_debug_snapshot!(planned.spec);
        insta::assert_debug_snapshot!(cgroup_limits(&planned.limits));
    }

    #[test]
    fn an_ordinary_user_has_no_limit_per_uid_and_half_the_memory_as_disk() {
        let execution = execution();
        let scratch = scratch(&execution, IsolationTier::Default, false).unwrap();
        assert_eq!(scratch.limits.disk_limit, ByteQuantity::from_mebibytes(256));
        let own = HostAbilities {
            identity: Identity::Own { uid: 1000, gid: 1000 },
            cgroups: true,
            proc: false,
            landlock: false,
        };
        let spec = plan(&execution, scratch, own, 0).spec;
        assert!(!spec.process_limits.iter().any(|(limit, _)| *limit == ProcessLimit::Processes));
        assert!(!spec.proc && !spec.landlock);
        assert_eq!(spec.cgroup_name, Some(execution.id.to_string()));
    }

    #[test]
    fn a_disk_that_was_asked_for_is_given_or_refused() {
        let mut execution = ExecutionPlan { disk_limit_is_default: false, ..execution() };
        let error = scratch(&execution, IsolationTier::Default, false).unwrap_err();
        assert_eq!(error.code, ErrorCode::LimitNotEnforceable);
        assert!(error.hint.unwrap().contains("--isolation reduced"));
        assert!(scratch(&execution, IsolationTier::Reduced, false).is_ok());
        execution.limits.disk_limit = ByteQuantity::from_mebibytes(100);
        let given = scratch(&execution, IsolationTier::Default, false).unwrap();
        assert_eq!(given.limits.disk_limit, execution.limits.disk_limit);
    }

    #[test]
    fn every_target_is_below_the_root_and_comes_after_its_parents() {
        let policy = ImportPolicy::default();
        let bytecode = vec![Vec::new(); GUEST.len()];
        let targets: Vec<PathBuf> =
            root(&environment(), Some(&policy), Some(bytecode)).unwrap().iter().map(RootEntry::target).collect();
        for (index, target) in targets.iter().enumerate() {
            assert!(target.is_absolute() && !target.components().any(|part| part.as_os_str() == ".."), "{target:?}");
            assert!(
                !targets[..index].iter().any(|earlier| earlier.starts_with(target)),
                "{target:?} hides an earlier one"
            );
        }
    }
}
