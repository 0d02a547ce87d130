//! How many workers are parked for one profile: pure, over what happens to it.
//!
//! A request that found none doubles the target. A target that was not needed for some seconds is lowered by half of
//! what was never needed. What is not used for minutes is not kept.

use std::collections::VecDeque;

/// Ticks without a need after which a target is lowered. A tick is a second.
const CALM_TICKS: u32 = 5;
/// Ticks without a request after which nothing is parked any more.
const FORGOTTEN_TICKS: u32 = 300;

/// A pool is low when it has less than this part of its target.
const LOW_SHARE: u32 = 4;

/// The workers of one profile.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    parked: VecDeque<T>,
    /// Workers that are being made.
    making: u32,
    target: u32,
    min: u32,
    max: u32,
    /// The fewest that were parked since the last tick.
    fewest: u32,
    calm: u32,
    unused: u32,
    /// Whether [`Pool::min`] is kept also when nobody asks.
    always: bool,
}

impl<T> Pool<T> {
    pub(crate) fn new(min: u32, max: u32, always: bool) -> Self {
        Self { parked: VecDeque::new(), making: 0, target: min, min, max, fewest: 0, calm: 0, unused: 0, always }
    }

    /// A worker for a request, the oldest first: what it was made of is most likely still right in the newest.
    pub(crate) fn take(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        self.unused = 0;
        let place = self.parked.iter().position(fits);
        let taken = place.and_then(|place| self.parked.remove(place));
        self.fewest = self.fewest.min(self.count());
        self.target = match &taken {
            Some(_) => self.target.max(self.min).max(1).min(self.max),
            None => (self.target * 2).max(self.min).max(1).min(self.max),
        };
        if taken.is_none() {
            self.calm = 0;
        }
        taken
    }

    /// How many are missing.
    pub(crate) fn missing(&self) -> u32 {
        self.target.saturating_sub(self.count() + self.making)
    }

    /// Whether so few are left, of many that are needed, that it should not wait for a calm moment.
    pub(crate) fn is_low(&self) -> bool {
        self.count() < self.target / LOW_SHARE
    }

    /// One is being made.
    pub(crate) fn begin(&mut self) {
        self.making += 1;
    }

    /// What was begun has ended: with a worker, or without. Returns it if it is not wanted any more.
    pub(crate) fn end(&mut self, made: Option<T>) -> Option<T> {
        self.making = self.making.saturating_sub(1);
        let made = made?;
        if self.count() >= self.max {
            return Some(made);
        }
        self.parked.push_back(made);
        None
    }

    /// A second has passed. Returns what is not wanted any more.
    pub(crate) fn tick(&mut self) -> Vec<T> {
        self.unused = self.unused.saturating_add(1);
        let needless = self.fewest;
        self.fewest = self.count();
        self.calm = if needless > 0 { self.calm + 1 } else { 0 };
        if self.calm >= CALM_TICKS {
            self.calm = 0;
            self.target = self.target.saturating_sub(needless.div_ceil(2)).max(self.min);
        }
        if self.unused >= FORGOTTEN_TICKS && !self.always {
            self.target = 0;
        }
        let surplus = self.count().saturating_sub(self.target);
        self.parked.drain(..usize::try_from(surplus).unwrap_or(0)).collect()
    }

    /// All of them; no more are wanted.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        self.target = 0;
        self.max = 0;
        self.parked.drain(..).collect()
    }

    /// Takes out those that are of no use.
    pub(crate) fn remove(&mut self, is_useless: impl Fn(&T) -> bool) -> Vec<T> {
        let (useless, kept) = self.parked.drain(..).partition(is_useless);
        self.parked = kept;
        Vec::from_iter::<VecDeque<T>>(useless)
    }

    pub(crate) fn parked(&self) -> impl Iterator<Item = &T> {
        self.parked.iter()
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.parked.len()).unwrap_or(u32::MAX)
    }

    pub(crate) const fn target(&self) -> u32 {
        self.target
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(pool: &mut Pool<u32>) {
        while pool.missing() > 0 {
            pool.begin();
            assert_eq!(pool.end(Some(0)), None);
        }
    }

    #[test]
    fn a_target_follows_the_demand_up_and_down() {
        let mut pool = Pool::new(1, 16, false);
        fill(&mut pool);
        assert_eq!(pool.count(), 1);
        for _burst in 0..3 {
            while pool.take(|_| true).is_some() {}
            fill(&mut pool);
        }
        assert_eq!(pool.count(), 8, "it doubled at each miss");
        for _second in 0..100 {
            pool.tick();
        }
        assert_eq!((pool.count(), pool.target()), (1, 1), "it was not needed");
        for _second in 0..FORGOTTEN_TICKS {
            pool.tick();
        }
        assert_eq!((pool.count(), pool.target()), (0, 0), "nobody asked for minutes");
        assert_eq!(pool.take(|_| true), None);
        assert_eq!(pool.target(), 1);
    }

    #[test]
    fn the_minimum_of_the_profile_that_is_always_kept_stays() {
        let mut pool = Pool::new(2, 16, true);
        fill(&mut pool);
        for _second in 0..2 * FORGOTTEN_TICKS {
            pool.tick();
        }
        assert_eq!(pool.count(), 2);
    }

    #[test]
    fn only_what_fits_is_taken_and_what_is_useless_can_be_removed() {
        let mut pool = Pool::new(0, 3, false);
        for worker in 0..3 {
            pool.begin();
            pool.end(Some(worker));
        }
        assert_eq!(pool.take(|worker| *worker == 1), Some(1));
        assert_eq!(pool.take(|worker| *worker == 1), None);
        assert_eq!(pool.remove(|worker| *worker == 0), [0]);
        assert_eq!(pool.drain(), [2]);
        pool.begin();
        assert_eq!(pool.end(Some(7)), Some(7), "after the end none is wanted");
    }

    proptest! {
        #[test]
        fn no_more_are_parked_than_may_be(steps in proptest::collection::vec(0..4_u8, 0..400), min in 0..4_u32, more in 0..8_u32) {
            let mut pool = Pool::new(min, min + more, false);
            for step in steps {
                match step {
                    0 => drop(pool.take(|_| true)),
                    1 => fill(&mut pool),
                    2 => drop(pool.tick()),
                    _ => {
                        pool.begin();
                        pool.end(Some(1));
                    }
                }
                prop_assert!(pool.count() <= min + more && pool.target() <= min + more);
            }
        }
    }
}
