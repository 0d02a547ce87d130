//! Which modules a program may import.
//!
//! A courtesy, not a boundary: it gives an early and clear answer, and a program that wants to can get around it. What
//! a program may do is decided by the kernel.

use serde::{Deserialize, Serialize};

/// The rule for imports: the standard library is allowed but for `blocked`, other packages when in `allowed`.
///
/// An entry stands for the module and everything below it: `os` for `os.path` too. Of several entries that fit a
/// module the longest decides, and of two equal ones `blocked`. The entry `*` in `allowed` stands for every module.
/// What an allowed package imports for itself is never restricted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImportPolicy {
    /// Modules outside the standard library that may be imported: import names (`sklearn`), not package names.
    pub allowed: Vec<String>,
    /// Modules that may not be imported, of the standard library or not.
    pub blocked: Vec<String>,
}

/// What an [`ImportPolicy`] says of one module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportDecision {
    /// It may be imported.
    Allowed,
    /// An entry of `blocked` forbids it.
    Blocked,
    /// It is neither in the standard library nor in `allowed`.
    NotAllowed,
}

impl ImportPolicy {
    /// Decides on `module` (`os.path`), of whose first part `in_standard_library` is known.
    pub fn decide(&self, module: &str, in_standard_library: bool) -> ImportDecision {
        let longest = |entries: &[String]| entries.iter().filter(|entry| covers(entry, module)).map(String::len).max();
        match (longest(&self.allowed), longest(&self.blocked)) {
            (allowed, Some(blocked)) if allowed.is_none_or(|allowed| blocked >= allowed) => ImportDecision::Blocked,
            (Some(_), _) => ImportDecision::Allowed,
            (None, _) if in_standard_library || self.allowed.iter().any(|entry| entry == "*") => {
                ImportDecision::Allowed
            }
            (None, _) => ImportDecision::NotAllowed,
        }
    }
}

/// Whether `entry` is `module` or a package that `module` is in.
fn covers(entry: &str, module: &str) -> bool {
    module.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str], blocked: &[&str]) -> ImportPolicy {
        let owned = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
        ImportPolicy { allowed: owned(allowed), blocked: owned(blocked) }
    }

    #[test]
    fn the_longest_entry_decides() {
        use ImportDecision::{Allowed, Blocked, NotAllowed};
        let policy = policy(&["numpy", "ctypes.util", "yaml"], &["ctypes", "numpy.ctypeslib", "yaml"]);
        for (module, in_standard_library, expected) in [
            ("os", true, Allowed),
            ("os.path", true, Allowed),
            ("numpy", false, Allowed),
            ("numpy.linalg", false, Allowed),
            ("numpy.ctypeslib", false, Blocked),
            ("numpyro", false, NotAllowed),
            ("torch", false, NotAllowed),
            ("ctypes", true, Blocked),
            ("ctypes.wintypes", true, Blocked),
            ("ctypes.util", true, Allowed),
            ("yaml", false, Blocked),
            ("", false, NotAllowed),
        ] {
            assert_eq!(policy.decide(module, in_standard_library), expected, "{module}");
        }
    }

    #[test]
    fn a_star_allows_what_is_not_blocked() {
        let policy = policy(&["*"], &["ctypes"]);
        assert_eq!(policy.decide("torch.nn", false), ImportDecision::Allowed);
        assert_eq!(policy.decide("ctypes", true), ImportDecision::Blocked);
    }
}
