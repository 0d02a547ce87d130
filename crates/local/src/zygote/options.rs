//! What an operator may decide of warm interpreters.

use std::{collections::BTreeSet, time::Duration};

/// A set of modules that a zygote has imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZygoteProfile {
    /// Its name: letters, digits, `-` and `_`, as results show it.
    pub name: String,
    /// The profile whose zygote it is forked from; [`BARE`] when left out. Parents come before their children.
    pub parent: Option<String>,
    /// What it imports on top of its parent, in this order: names as in an import statement. What the environment does
    /// not have is left out.
    pub modules: Vec<String>,
}

/// The profile that is always there: the interpreter with what its own start and ours import, and nothing of the
/// environment.
pub const BARE: &str = "bare";

/// How warm interpreters are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZygoteOptions {
    /// The profiles beside [`BARE`], smallest first: the first one that has what a program imports is taken.
    pub profiles: Vec<ZygoteProfile>,
    /// Workers parked for each profile that has been used, at least.
    pub parked_min: u32,
    /// Workers parked for each profile, at most.
    pub parked_max: u32,
    /// Memory that all parked workers together may take, in bytes, as their cgroups count it.
    pub parked_memory: u64,
    /// Age at which a zygote is replaced by a new one.
    pub max_age: Duration,
    /// Forks after which a zygote is replaced by a new one.
    pub max_forks: u64,
}

impl Default for ZygoteOptions {
    fn default() -> Self {
        let profile = |name: &str, parent: &str, modules: &[&str]| ZygoteProfile {
            name: name.to_owned(),
            parent: Some(parent.to_owned()),
            modules: modules.iter().map(|module| (*module).to_owned()).collect(),
        };
        Self {
            profiles: vec![
                profile("numpy", BARE, &["numpy"]),
                profile("web", BARE, &["requests", "bs4"]),
                profile("pandas", "numpy", &["pandas"]),
                profile("matplotlib", "pandas", &["matplotlib", "matplotlib.pyplot"]),
                profile("scipy", "numpy", &["scipy", "scipy.stats", "scipy.optimize", "scipy.linalg", "scipy.signal"]),
                profile(
                    "all",
                    "matplotlib",
                    &[
                        "scipy",
                        "scipy.stats",
                        "scipy.optimize",
                        "scipy.linalg",
                        "scipy.signal",
                        "sklearn",
                        "sklearn.linear_model",
                        "sklearn.model_selection",
                        "sklearn.ensemble",
                        "sklearn.metrics",
                        "sklearn.preprocessing",
                        "requests",
                        "bs4",
                    ],
                ),
            ],
            parked_min: 1,
            parked_max: 64,
            parked_memory: 256 << 20,
            max_age: Duration::from_hours(1),
            max_forks: 100_000,
        }
    }
}

/// Names of modules, or of profiles: the first of what they are made of.
const NAME_LENGTH: usize = 64;

/// Profiles, at most.
const MAX_PROFILES: usize = 32;

impl ZygoteOptions {
    /// Whether the options make sense.
    ///
    /// # Errors
    /// What does not, and why.
    pub fn check(&self) -> Result<(), String> {
        if self.profiles.len() > MAX_PROFILES {
            return Err(format!("{} profiles are more than the {MAX_PROFILES} that may be", self.profiles.len()));
        }
        if self.parked_min > self.parked_max {
            return Err(format!("at least {} parked workers and at most {}", self.parked_min, self.parked_max));
        }
        let mut known = BTreeSet::from([BARE]);
        for profile in &self.profiles {
            let name = profile.name.as_str();
            let parent = profile.parent.as_deref().unwrap_or(BARE);
            let letters = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
            if name.is_empty() || name.len() > NAME_LENGTH || !name.chars().all(letters) {
                return Err(format!(
                    "{name:?} is no name of a profile: letters, digits, `-` and `_`, at most {NAME_LENGTH}"
                ));
            }
            if !known.contains(parent) {
                return Err(format!(
                    "the profile {name:?} has the parent {parent:?}, which no profile before it is named"
                ));
            }
            if !known.insert(name) {
                return Err(format!("there are two profiles {name:?}"));
            }
            let module = |module: &&String| !is_module(module);
            if let Some(module) = profile.modules.iter().find(module) {
                return Err(format!("the profile {name:?} has {module:?}, which is no name of a module"));
            }
        }
        Ok(())
    }
}

fn is_module(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|letter: char| letter == '_' || letter.is_alphabetic())
            && part.chars().all(|letter| letter == '_' || letter.is_alphanumeric())
    };
    name.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(profile: ZygoteProfile) -> ZygoteOptions {
        let mut options = ZygoteOptions::default();
        options.profiles.push(profile);
        options
    }

    #[test]
    fn the_defaults_make_sense() {
        ZygoteOptions::default().check().unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let profile = |name: &str, parent: Option<&str>, module: &str| ZygoteProfile {
            name: name.to_owned(),
            parent: parent.map(str::to_owned),
            modules: vec![module.to_owned()],
        };
        for (options, part) in [
            (with(profile("", None, "json")), "no name of a profile"),
            (with(profile("a b", None, "json")), "no name of a profile"),
            (with(profile("numpy", None, "json")), "two profiles"),
            (with(profile("bare", None, "json")), "two profiles"),
            (with(profile("x", Some("y"), "json")), "parent \"y\""),
            (with(profile("x", Some("x"), "json")), "parent \"x\""),
            (with(profile("x", None, "os; evil")), "no name of a module"),
            (with(profile("x", None, "a..b")), "no name of a module"),
            (ZygoteOptions { parked_min: 3, parked_max: 2, ..ZygoteOptions::default() }, "at least 3"),
            (
                ZygoteOptions {
                    profiles: (0..33).map(|number| profile(&format!("p{number}"), None, "json")).collect(),
                    ..ZygoteOptions::default()
                },
                "33 profiles",
            ),
        ] {
            let error = options.check().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn names_of_modules_are_letters_of_any_alphabet() {
        assert!(is_module("sklearn.linear_model") && is_module("_x") && is_module("größe"));
        assert!(!is_module("") && !is_module("1x") && !is_module("a.") && !is_module("a-b"));
    }
}
