//! Which profile a program gets: pure, over what is known of it and of the environment.

use std::collections::BTreeSet;

use super::options::{BARE, ZygoteOptions, ZygoteProfile};

/// The profiles of one environment, [`BARE`] first, parents before children.
#[derive(Clone, Debug)]
pub(crate) struct Profiles {
    profiles: Vec<Profile>,
    /// First parts of the names of all modules that the environment has.
    installed: BTreeSet<String>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) name: String,
    /// Its parent's place; nothing of the first.
    pub(crate) parent: Option<usize>,
    /// What it imports on top of its parent.
    pub(crate) modules: Vec<String>,
    /// First parts of the names of all modules that it has, its parents' included.
    covers: BTreeSet<String>,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Place of the profile.
    pub(crate) profile: usize,
    /// Modules of the environment that the program imports and the profile has not.
    pub(crate) missing: Vec<String>,
}

impl Profiles {
    /// The profiles that make sense for an environment with the modules `installed`: one that would import nothing that
    /// is there is left out, and its children are its parent's. `is_allowed` is asked of a module, and whether it is
    /// installed rather than the standard library's.
    pub(crate) fn new(
        options: &ZygoteOptions,
        installed: BTreeSet<String>,
        is_allowed: impl Fn(&str, bool) -> bool,
    ) -> Self {
        let bare = Profile { name: BARE.to_owned(), parent: None, modules: Vec::new(), covers: BTreeSet::new() };
        let mut profiles = vec![bare];
        // Names of profiles, and the places where their children have their parent.
        let mut places = vec![(BARE, 0)];
        for ZygoteProfile { name, parent, modules } in &options.profiles {
            let parent = parent.as_deref().unwrap_or(BARE);
            let place = places.iter().find(|(known, _)| *known == parent).map_or(0, |(_, place)| *place);
            let modules: Vec<String> =
                modules.iter().filter(|module| is_known(first(module), &installed)).cloned().collect();
            let is_free = |module: &String| is_allowed(module, installed.contains(first(module)));
            let modules: Vec<String> = modules.into_iter().filter(is_free).collect();
            if modules.is_empty() {
                places.push((name, place));
                continue;
            }
            let mut covers = profiles.get(place).map(|parent| parent.covers.clone()).unwrap_or_default();
            covers.extend(modules.iter().map(|module| first(module).to_owned()));
            places.push((name, profiles.len()));
            profiles.push(Profile { name: name.clone(), parent: Some(place), modules, covers });
        }
        Self { profiles, installed }
    }

    pub(crate) fn all(&self) -> &[Profile] {
        &self.profiles
    }

    /// The first profile that has all of `imports` that any profile has; else the one that has most.
    pub(crate) fn choose(&self, imports: &[String]) -> Choice {
        let wanted: BTreeSet<&str> =
            imports.iter().map(|module| first(module)).filter(|name| self.installed.contains(*name)).collect();
        let had = |profile: &Profile| wanted.iter().filter(|name| profile.covers.contains(**name)).count();
        let most = self.profiles.iter().map(had).max().unwrap_or(0);
        let profile = self.profiles.iter().position(|profile| had(profile) == most).unwrap_or(0);
        let covers = self.profiles.get(profile).map(|profile| &profile.covers);
        let missing = wanted.into_iter().filter(|name| covers.is_none_or(|covers| !covers.contains(*name)));
        Choice { profile, missing: missing.map(str::to_owned).collect() }
    }
}

/// Of the standard library, what is not the environment's: a profile may name that, too.
fn is_known(name: &str, installed: &BTreeSet<String>) -> bool {
    // What the environment has not and the standard library neither is passed over by the zygote.
    installed.contains(name) || !SEVEN.contains(&name)
}

/// The modules of the default environment: where another environment lacks them, their profiles are of no use.
const SEVEN: [&str; 7] = ["numpy", "pandas", "scipy", "matplotlib", "sklearn", "requests", "bs4"];

fn first(module: &str) -> &str {
    module.split('.').next().unwrap_or(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(installed: &[&str]) -> Profiles {
        let installed = installed.iter().map(|name| (*name).to_owned()).collect();
        Profiles::new(&ZygoteOptions::default(), installed, |_, _| true)
    }

    #[test]
    fn what_may_not_be_imported_is_in_no_profile() {
        let installed = ["numpy", "requests", "bs4"].map(str::to_owned).into();
        let few = Profiles::new(&ZygoteOptions::default(), installed, |module, is_installed| {
            assert!(is_installed, "{module}");
            module != "requests"
        });
        assert!(few.all().iter().all(|profile| !profile.modules.contains(&"requests".to_owned())));
        assert_eq!(chosen(&few, &["bs4"]).0, "web");
    }

    fn chosen(profiles: &Profiles, imports: &[&str]) -> (String, Vec<String>) {
        let imports: Vec<String> = imports.iter().map(|import| (*import).to_owned()).collect();
        let Choice { profile, missing } = profiles.choose(&imports);
        (profiles.all()[profile].name.clone(), missing)
    }

    #[test]
    fn the_smallest_profile_that_has_everything_is_chosen() {
        let all = profiles(&["numpy", "pandas", "scipy", "matplotlib", "sklearn", "requests", "bs4", "networkx"]);
        for (imports, expected) in [
            (&[][..], "bare"),
            (&["json", "os.path"], "bare"),
            (&["numpy.linalg", "sys"], "numpy"),
            (&["pandas"], "pandas"),
            (&["numpy", "pandas"], "pandas"),
            (&["requests"], "web"),
            (&["matplotlib.pyplot"], "matplotlib"),
            (&["scipy.stats", "numpy"], "scipy"),
            (&["scipy", "pandas"], "all"),
            (&["sklearn.svm"], "all"),
            (&["requests", "numpy"], "all"),
        ] {
            assert_eq!(chosen(&all, imports), (expected.to_owned(), vec![]), "{imports:?}");
        }
    }

    #[test]
    fn what_no_profile_has_is_told_and_does_not_matter_for_the_choice() {
        let all = profiles(&["numpy", "pandas", "networkx"]);
        assert_eq!(chosen(&all, &["networkx", "numpy"]), ("numpy".to_owned(), vec!["networkx".to_owned()]));
        assert_eq!(chosen(&all, &["networkx.utils"]), ("bare".to_owned(), vec!["networkx".to_owned()]));
        // Not of the environment: the program's own file, or nobody's.
        assert_eq!(chosen(&all, &["helper"]), ("bare".to_owned(), vec![]));
    }

    #[test]
    fn an_environment_without_the_modules_has_no_profiles_of_them() {
        let few = profiles(&["numpy", "scipy"]);
        let names: Vec<&str> = few.all().iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(names, ["bare", "numpy", "scipy", "all"]);
        assert_eq!(few.all()[3].parent, Some(1), "the parents that were left out are passed over");
        assert_eq!(profiles(&[]).all().len(), 1);
    }
}
