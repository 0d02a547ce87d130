//! How many programs run at the same time.

use std::{sync::Arc, time::Duration};

use aevatar_sandbox_contract::{ErrorCode, SandboxError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// When it is worth asking again: most programs take less.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Lets a fixed number of executions in. The others are refused at once: nothing waits here.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    capacity: usize,
}

/// The right to run one program, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    /// Room for `capacity` executions; one at the least.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(capacity)), capacity }
    }

    /// # Errors
    /// [`ErrorCode::Busy`].
    pub(crate) fn enter(&self) -> Result<Permit, SandboxError> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(Permit { _permit: permit });
        }
        let message = format!("{} programs are being served already, which is as many as may", self.capacity);
        let mut error = SandboxError::new(ErrorCode::Busy, message).with_hint(
            "ask again when one has ended, or raise `MaxConcurrentExecutions` if the host has CPUs and memory to spare",
        );
        error.retry_after = Some(RETRY_AFTER);
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_may_is_refused_until_one_leaves() {
        let admission = Admission::new(2);
        let first = admission.enter().unwrap();
        let _second = admission.enter().unwrap();
        let refused = admission.enter().unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (ErrorCode::Busy, Some(RETRY_AFTER)));
        drop(first);
        assert!(admission.enter().is_ok());
    }

    #[test]
    fn there_is_room_for_one_at_the_least() {
        assert!(Admission::new(0).enter().is_ok());
    }
}
