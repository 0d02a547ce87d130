//! Which id of the engine's range each sandbox has.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use aevatar_sandbox_contract::{ErrorCode, SandboxError};
use aevatar_sandbox_jail::spec::Identity;

use crate::backend::lock;

/// The ids of the engine's range that are in use.
#[derive(Debug)]
pub(crate) struct UidSlots {
    identity: Identity,
    taken: Mutex<(u32, BTreeSet<u32>)>,
}

/// An id that is in use until this is dropped.
#[derive(Debug)]
pub(crate) struct UidSlot {
    pub(crate) slot: u32,
    slots: Arc<UidSlots>,
}

impl UidSlots {
    pub(crate) const fn new(identity: Identity) -> Self {
        Self { identity, taken: Mutex::new((0, BTreeSet::new())) }
    }

    /// The next id that is free: one that was just given back comes last.
    pub(crate) fn take(self: &Arc<Self>) -> Result<UidSlot, SandboxError> {
        if matches!(self.identity, Identity::Own { .. }) {
            return Ok(UidSlot { slot: 0, slots: Arc::clone(self) });
        }
        let mut taken = lock(&self.taken);
        for _candidate in 1..Identity::RANGE {
            let next = taken.0 % (Identity::RANGE - 1) + 1;
            taken.0 = next;
            if taken.1.insert(next) {
                return Ok(UidSlot { slot: next, slots: Arc::clone(self) });
            }
        }
        Err(SandboxError::new(ErrorCode::SandboxFailure, "more than 65535 sandboxes run at once"))
    }
}

impl Drop for UidSlot {
    fn drop(&mut self) {
        lock(&self.slots.taken).1.remove(&self.slot);
    }
}
