//! Which ways interpreters came to their programs, and how long each took.

use std::{collections::BTreeMap, time::Duration};

use aevatar_sandbox::StartPath;

use super::statistics::Summary;

/// Times of executions by how their interpreters were started.
#[derive(Clone, Debug, Default)]
pub(super) struct PathTimes {
    parked: Vec<Duration>,
    forked: Vec<Duration>,
    cold: Vec<Duration>,
}

/// The word of a path in the report.
pub(super) const fn word(path: StartPath) -> &'static str {
    match path {
        StartPath::Parked => "parked",
        StartPath::Forked => "forked",
        StartPath::Cold => "cold",
    }
}

impl PathTimes {
    pub(super) fn push(&mut self, path: StartPath, took: Duration) {
        match path {
            StartPath::Parked => self.parked.push(took),
            StartPath::Forked => self.forked.push(took),
            StartPath::Cold => self.cold.push(took),
        }
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.parked.append(&mut other.parked);
        self.forked.append(&mut other.forked);
        self.cold.append(&mut other.cold);
    }

    pub(super) fn all(&self) -> Vec<Duration> {
        [&self.parked[..], &self.forked, &self.cold].concat()
    }

    /// By the path's word; without paths that nobody took.
    pub(super) fn summaries(&self) -> BTreeMap<&'static str, Summary> {
        [(StartPath::Parked, &self.parked), (StartPath::Forked, &self.forked), (StartPath::Cold, &self.cold)]
            .into_iter()
            .filter_map(|(path, times)| Some((word(path), Summary::of(times)?)))
            .collect()
    }
}

/// The shares of the paths, the largest first: `parked 97 %, forked 3 %`.
pub(super) fn shares(paths: &BTreeMap<&'static str, Summary>) -> String {
    let total: usize = paths.values().map(|times| times.samples).sum();
    let mut counts: Vec<(&str, usize)> = paths.iter().map(|(path, times)| (*path, times.samples)).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let share = |(path, count): (&str, usize)| format!("{path} {} %", (count * 200 + total) / (total * 2));
    counts.into_iter().map(share).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_and_sorted() {
        let mut times = PathTimes::default();
        assert_eq!(shares(&times.summaries()), "");
        for number in 0..200 {
            let path = if number < 5 { StartPath::Forked } else { StartPath::Parked };
            times.push(path, Duration::from_millis(number));
        }
        assert_eq!(shares(&times.summaries()), "parked 98 %, forked 3 %");
        assert_eq!(times.all().len(), 200);
        let mut twice = times.clone();
        twice.append(times);
        assert_eq!(twice.summaries()["forked"].samples, 10);
        assert!(!twice.summaries().contains_key("cold"));
    }
}
