//! Which modules of an environment programs import that no profile has.

use std::{collections::HashMap, sync::Mutex};

use aevatar_sandbox_contract::UnprofiledImport;

use crate::backend::lock;

/// Modules that are counted. There are no more in a large environment, and a program cannot make them up: only what is
/// installed is counted.
const MOST: usize = 1000;
/// Of these, the most frequent ones that are reported.
const REPORTED: usize = 100;

/// Counters by module.
#[derive(Debug, Default)]
pub(crate) struct ImportCounts(Mutex<HashMap<String, u64>>);

impl ImportCounts {
    /// One program has imported these.
    pub(crate) fn add(&self, modules: &[String]) {
        if modules.is_empty() {
            return;
        }
        let mut counts = lock(&self.0);
        for module in modules {
            if counts.len() < MOST || counts.contains_key(module) {
                *counts.entry(module.clone()).or_default() += 1;
            }
        }
    }

    /// The most frequent first.
    pub(crate) fn report(&self) -> Vec<UnprofiledImport> {
        let mut all: Vec<UnprofiledImport> = lock(&self.0)
            .iter()
            .map(|(module, programs)| UnprofiledImport { module: module.clone(), programs: *programs })
            .collect();
        all.sort_by(|a, b| b.programs.cmp(&a.programs).then_with(|| a.module.cmp(&b.module)));
        all.truncate(REPORTED);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first_and_there_is_an_end() {
        let counts = ImportCounts::default();
        for number in 0..2 * MOST {
            counts.add(&[format!("m{number:04}")]);
        }
        counts.add(&["m0007".to_owned(), "m0003".to_owned()]);
        counts.add(&["m0007".to_owned()]);
        let report = counts.report();
        assert_eq!(report.len(), REPORTED);
        let first: Vec<(&str, u64)> =
            report.iter().take(3).map(|import| (import.module.as_str(), import.programs)).collect();
        assert_eq!(first, [("m0007", 3), ("m0003", 2), ("m0000", 1)]);
        assert_eq!(lock(&counts.0).len(), MOST);
    }
}
