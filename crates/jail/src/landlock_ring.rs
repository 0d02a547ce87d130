//! Landlock: one more ring around the files, in case a mount shows more than it should.

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::io::Errno;

use crate::spec::{MemoryDevice, WRITABLE};

/// The newest ABI whose rights are handled; an older kernel enforces what it knows of them.
const HANDLED: ABI = ABI::V6;

/// Restricts this process and its children for good: reading and executing everywhere (the root is read-only and holds
/// only what a sandbox may see), writing only in the writable folders and to the memory devices; no signals and no
/// abstract sockets across the border.
pub(crate) fn restrict() -> Result<(), Errno> {
    let read = AccessFs::from_read(HANDLED);
    let all = AccessFs::from_all(HANDLED);
    let beneath = |path: &str, access: BitFlags<AccessFs>| PathFd::new(path).map(|fd| PathBeneath::new(fd, access));
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)
        .and_then(|ruleset| ruleset.scope(Scope::from_all(HANDLED)))
        .and_then(Ruleset::create)
        .map_err(|_| Errno::OPNOTSUPP)?;
    let mut ruleset = ruleset.add_rule(beneath("/", read).map_err(|_| Errno::NOENT)?).map_err(|_| Errno::INVAL)?;
    for (path, _) in WRITABLE {
        ruleset = ruleset.add_rule(beneath(path, all).map_err(|_| Errno::NOENT)?).map_err(|_| Errno::INVAL)?;
    }
    for device in MemoryDevice::ALL {
        let path = device.path();
        let path = path.to_str().ok_or(Errno::INVAL)?;
        let access = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
        ruleset = ruleset.add_rule(beneath(path, access).map_err(|_| Errno::NOENT)?).map_err(|_| Errno::INVAL)?;
    }
    let status = ruleset.restrict_self().map_err(|_| Errno::PERM)?;
    if status.ruleset == RulesetStatus::NotEnforced { Err(Errno::OPNOTSUPP) } else { Ok(()) }
}
