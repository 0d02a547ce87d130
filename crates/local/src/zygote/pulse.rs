//! When something happened last.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Noted by some, asked by others, without a lock.
#[derive(Debug)]
pub(crate) struct Pulse {
    began: Instant,
    /// Microseconds after that.
    last: AtomicU64,
}

impl Pulse {
    /// It happens now.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// It happens again.
    pub(crate) fn note(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// For how long it has not.
    pub(crate) fn silence(&self) -> Duration {
        Duration::from_micros(self.now().saturating_sub(self.last.load(Ordering::Relaxed)))
    }
}
