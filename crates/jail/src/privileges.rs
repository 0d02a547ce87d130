//! Giving up every privilege, and checking that it is gone.

use rustix::{
    io::Errno,
    process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior},
    thread::{
        CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
        clear_ambient_capability_set, configure_capability_in_ambient_set, no_new_privs,
        remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
        set_thread_res_gid, set_thread_res_uid,
    },
};

/// Capabilities that a kernel may know; the ones it does not know answer EINVAL.
const CAPABILITY_NUMBERS: std::ops::Range<u32> = 0..64;

/// Takes on `id` as user and group, in all three roles. Capabilities stay while `id` is not mapped to 0 before.
pub(crate) fn become_id(id: u32) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

/// The same for somebody who is root, and would lose all capabilities by it.
pub(crate) fn become_id_from_root(id: u32) -> Result<(), Errno> {
    let held = capabilities(None)?;
    set_keep_capabilities(true)?;
    become_id(id)?;
    set_capabilities(None, CapabilitySets { effective: held.permitted, ..held })
}

/// Drops every capability from every set, and the right to gain one by executing a program.
pub(crate) fn drop_all() -> Result<(), Errno> {
    for number in CAPABILITY_NUMBERS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)
}

/// Drops every capability but the one to join namespaces, which the program that this process executes keeps, and the
/// right to gain another.
pub(crate) fn keep_only_sys_admin() -> Result<(), Errno> {
    let kept = CapabilitySet::SYS_ADMIN;
    // Nothing becomes inheritable any more that is not in the bounding set.
    let held = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: kept, ..held })?;
    for number in CAPABILITY_NUMBERS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    // The engine's root gets everything at an execution otherwise.
    rustix::thread::set_capabilities_secure_bits(
        CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED,
    )?;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: kept })?;
    configure_capability_in_ambient_set(kept, true)?;
    set_no_new_privs(true)
}

/// Hands every capability on to the program that this process executes, for a trial without [`drop_all`].
pub(crate) fn hand_on_all() -> Result<(), Errno> {
    let all = capabilities(None)?.permitted;
    set_capabilities(None, CapabilitySets { effective: all, permitted: all, inheritable: all })?;
    for capability in all.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Makes this process unreadable to others of its user: no ptrace, no /proc/PID/mem, no /proc/PID/environ.
///
/// The change of ids has done that already, but that is a side effect of it; `on` is false on trial only.
pub(crate) fn become_unreadable(on: bool) -> Result<(), Errno> {
    set_dumpable_behavior(if on { DumpableBehavior::NotDumpable } else { DumpableBehavior::Dumpable })
}

/// Checks that nothing is left.
pub(crate) fn verify_dropped() -> Result<(), &'static str> {
    let sets = capabilities(None).map_err(|_| "capabilities")?;
    if !(sets.effective | sets.permitted | sets.inheritable).is_empty() {
        return Err("capabilities");
    }
    let bounded = CAPABILITY_NUMBERS
        .map(|number| capability_is_in_bounding_set(CapabilitySet::from_bits_retain(1 << number)))
        .all(|held| !held.unwrap_or(false));
    if !bounded {
        return Err("capability bounding set");
    }
    if !no_new_privs().unwrap_or(false) {
        return Err("no_new_privs");
    }
    // A lock is only proven by trying it: in its own namespaces, a capability is all that this would need.
    if rustix::system::sethostname(b"sandbox").is_ok() {
        return Err("capability to change the host name");
    }
    Ok(())
}
