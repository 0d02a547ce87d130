//! What is said of many measured times.

use std::time::Duration;

use serde::Serialize;

/// Times of one thing that was done again and again, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    /// How many there are.
    pub(super) samples: usize,
    /// The median.
    pub(super) p50_ms: f64,
    /// What 99 of 100 do not exceed; of fewer than 100 samples, the longest.
    pub(super) p99_ms: f64,
    /// The shortest.
    pub(super) min_ms: f64,
    /// The longest.
    pub(super) max_ms: f64,
    /// The arithmetic mean.
    pub(super) mean_ms: f64,
}

impl Summary {
    /// Of nothing, nothing can be said.
    pub(super) fn of(times: &[Duration]) -> Option<Self> {
        let mut times = times.to_vec();
        times.sort_unstable();
        let total: Duration = times.iter().sum();
        let samples = times.len();
        Some(Self {
            samples,
            p50_ms: milliseconds(*percentile(&times, 50)?),
            p99_ms: milliseconds(*percentile(&times, 99)?),
            min_ms: milliseconds(*times.first()?),
            max_ms: milliseconds(*times.last()?),
            mean_ms: milliseconds(total) / float(samples),
        })
    }
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The value that `percent` per cent of the `sorted` values do not exceed, by the nearest rank: always one that was
/// measured.
pub(super) fn percentile<T>(sorted: &[T], percent: usize) -> Option<&T> {
    let rank = (sorted.len() * percent.min(100)).div_ceil(100);
    sorted.get(rank.saturating_sub(1))
}

/// The median of some numbers, by the nearest rank.
pub(super) fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 50).copied()
}

/// A count as a number to divide by. Exact for whatever a bench can count.
pub(super) fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Bytes in MiB, to a KiB.
pub(super) fn mebibytes(bytes: u64) -> f64 {
    u32::try_from(bytes >> 10).map_or(f64::INFINITY, f64::from) / 1024.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(milliseconds: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        milliseconds.into_iter().map(Duration::from_millis).collect()
    }

    #[track_caller]
    fn assert_close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-9, "{left} is not {right}");
    }

    #[test]
    fn of_nothing_nothing_is_said() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(percentile::<u8>(&[], 50), None);
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_nearest_rank_is_one_that_was_measured() {
        let sorted: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&sorted, 50), Some(&100));
        assert_eq!(percentile(&sorted, 99), Some(&198));
        assert_eq!(percentile(&sorted, 100), Some(&200));
        assert_eq!(percentile(&sorted, 0), Some(&1));
        assert_eq!(percentile(&[7], 99), Some(&7));
        assert_eq!(percentile(&sorted, 1000), Some(&200));
    }

    #[test]
    fn order_does_not_matter() {
        let summary = Summary::of(&times([5, 1, 4, 2, 3])).unwrap();
        assert_eq!(summary.samples, 5);
        for (is, should) in [
            (summary.p50_ms, 3.0),
            (summary.p99_ms, 5.0),
            (summary.min_ms, 1.0),
            (summary.max_ms, 5.0),
            (summary.mean_ms, 3.0),
        ] {
            assert_close(is, should);
        }
    }

    #[test]
    fn units() {
        assert_close(milliseconds(Duration::from_micros(1500)), 1.5);
        assert_close(mebibytes(3 << 19), 1.5);
        assert!(mebibytes(u64::MAX).is_infinite());
        assert_close(median(&[3.0, 1.0, 2.0]).unwrap(), 2.0);
    }

    proptest! {
        #[test]
        fn numbers_are_in_order(values in proptest::collection::vec(0u64..10_000_000, 1..300)) {
            let summary = Summary::of(&values.iter().map(|value| Duration::from_micros(*value)).collect::<Vec<_>>());
            let Summary { p50_ms, p99_ms, min_ms, max_ms, mean_ms, .. } = summary.unwrap();
            prop_assert!(min_ms <= p50_ms && p50_ms <= p99_ms && p99_ms <= max_ms);
            prop_assert!(min_ms - 1e-6 <= mean_ms && mean_ms <= max_ms + 1e-6);
        }
    }
}
