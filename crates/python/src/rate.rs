//! How often an owner may ask.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aevatar_sandbox_contract::{Caller, ErrorCode, SandboxError};
use tokio::time::Instant;

/// Owners that are remembered before those are forgotten who may ask as often as at the beginning.
const REMEMBERED: usize = 1024;
const MINUTE: f64 = 60.0;

/// Requests that each owner has left. They come back at an even pace, and a minute's worth can be used at once.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    owners: Mutex<HashMap<String, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    per_minute: f64,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let came = now.saturating_duration_since(self.at).as_secs_f64() * self.per_minute / MINUTE;
        self.left = (self.left + came).min(self.per_minute);
        self.at = now;
    }
}

impl Rates {
    /// Counts one request.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`]: it was one too many for this minute.
    pub(crate) fn count(&self, caller: &Caller, now: Instant) -> Result<(), SandboxError> {
        let Some(limit) = caller.allowance.per_minute else { return Ok(()) };
        let per_minute = f64::from(limit.max(1));
        // Nothing panics while it holds the lock.
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.len() >= REMEMBERED {
            owners.retain(|_, bucket| {
                bucket.refill(now);
                bucket.left < bucket.per_minute
            });
        }
        let bucket = owners.entry(caller.owner.clone()).or_insert(Bucket { left: per_minute, at: now, per_minute });
        bucket.per_minute = per_minute;
        bucket.refill(now);
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - bucket.left) * MINUTE / per_minute;
        let mut error = SandboxError::new(ErrorCode::Busy, format!("this key may ask for {limit} executions a minute"))
            .with_hint("ask again after `Retry-After`, or have the key's rate raised");
        error.retry_after = Some(Duration::from_secs_f64(wait.max(1.0)));
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use aevatar_sandbox_contract::Allowance;

    use super::*;

    fn caller(owner: &str, per_minute: Option<u32>) -> Caller {
        Caller { owner: owner.to_owned(), allowance: Allowance { per_minute, ..Allowance::default() } }
    }

    #[test]
    fn a_minutes_worth_at_once_and_then_an_even_pace() {
        let (rates, start) = (Rates::default(), Instant::now());
        let limited = caller("a", Some(6));
        for _ in 0..6 {
            rates.count(&limited, start).unwrap();
        }
        let refused = rates.count(&limited, start).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Busy);
        let wait = refused.retry_after.unwrap();
        assert!(Duration::from_secs(9) < wait && wait <= Duration::from_secs(10), "{wait:?}");
        assert!(rates.count(&limited, start + Duration::from_secs(9)).is_err());
        assert!(rates.count(&limited, start + Duration::from_secs(11)).is_ok());
        assert!(rates.count(&caller("b", Some(6)), start).is_ok());
        for _ in 0..100 {
            assert!(rates.count(&caller("c", None), start).is_ok());
        }
    }

    #[test]
    fn owners_are_not_remembered_for_ever() {
        let (rates, start) = (Rates::default(), Instant::now());
        for number in 0..5000_u32 {
            let at = start + Duration::from_secs(u64::from(number));
            rates.count(&caller(&number.to_string(), Some(60)), at).unwrap();
        }
        assert!(rates.owners.lock().unwrap().len() <= REMEMBERED + 1);
    }
}
