//! Which pip installs for an interpreter: its own, or another interpreter's.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::error::EnvironmentError;
use super::interpreter::Interpreter;
use super::process;

const TRIAL_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_TRIAL_ANSWER: usize = 64 << 10;

/// Settings of the user that would send the packages elsewhere or hide what pip does. All else in pip's
/// configuration (index, proxy, certificates, credentials) is the user's business and stays.
const UNWANTED_SETTINGS: [&str; 16] = [
    "PIP_PYTHON",
    "PIP_TARGET",
    "PIP_ROOT",
    "PIP_PREFIX",
    "PIP_DRY_RUN",
    "PIP_QUIET",
    "PIP_VERBOSE",
    "PIP_EDITABLE",
    "PIP_REQUIREMENT",
    "PIP_NO_BINARY",
    "PIP_NO_COMPILE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONOPTIMIZE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONDONTWRITEBYTECODE",
];

/// A pip that can install for one interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pip {
    /// The interpreter that runs pip.
    pub(super) runner: PathBuf,
    /// The interpreter it installs for, where that is another one.
    installs_for: Option<PathBuf>,
}

impl Pip {
    /// The interpreter's own pip, or else the first of `others` that can install for it.
    pub(super) fn find(interpreter: &Interpreter, others: &[PathBuf]) -> Result<Self, EnvironmentError> {
        let own = Self { runner: interpreter.executable().to_owned(), installs_for: None };
        if own.works() {
            return Ok(own);
        }
        others
            .iter()
            .map(|other| Self { runner: other.clone(), installs_for: Some(interpreter.executable().to_owned()) })
            .find(Self::works)
            .ok_or_else(|| EnvironmentError::NoPip {
                python: interpreter.executable().to_owned(),
                version: interpreter.version,
            })
    }

    /// `python -m pip`, without a subcommand yet.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.runner);
        for setting in UNWANTED_SETTINGS {
            command.env_remove(setting);
        }
        command
            .env("PIP_USER", "0")
            .env("PIP_REQUIRE_VIRTUALENV", "0")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("NO_COLOR", "1")
            .env("PYTHONUNBUFFERED", "1")
            .args(["-m", "pip"]);
        if let Some(python) = &self.installs_for {
            command.arg("--python").arg(python);
        }
        command
    }

    /// Whether pip starts, knows `--python` (22.3 and later do), and runs in the interpreter it installs for. A pip
    /// from before CPython 3.12 starts there, and fails when it looks for installed distributions.
    fn works(&self) -> bool {
        let mut trial = self.command();
        process::run(trial.args(["list", "--format", "freeze"]), TRIAL_TIMEOUT, MAX_TRIAL_ANSWER)
            .is_ok_and(|answer| answer.status.success())
    }
}

#[cfg(test)]
mod tests {
    use aevatar_sandbox_contract::PythonVersion;

    use super::super::tests::{fake_interpreter, write_script};
    use super::*;

    /// Writes an interpreter whose pip does what the shell script says.
    fn python(directory: &tempfile::TempDir, name: &str, script: &str) -> PathBuf {
        let path = directory.path().join(name);
        write_script(&path, script);
        path
    }

    #[test]
    fn another_interpreters_pip_is_borrowed_if_it_can_install_for_this_one() {
        let directory = tempfile::tempdir().unwrap();
        let bare = fake_interpreter(&python(&directory, "bare", "exit 1\n"));
        let old = python(&directory, "old", "[ \"$3\" = list ]\n");
        let new = python(&directory, "new", "[ \"$3\" = --python ] && [ \"$5\" = list ]\n");
        let pip = Pip::find(&bare, &[old.clone(), new.clone()]).unwrap();
        assert_eq!(pip, Pip { runner: new.clone(), installs_for: Some(bare.executable().to_owned()) });
        let own = Pip::find(&fake_interpreter(&old), &[new]).unwrap();
        assert_eq!(own, Pip { runner: old.clone(), installs_for: None });
        let none = Pip::find(&bare, &[old]).unwrap_err();
        let expected = PythonVersion { major: 3, minor: 12, micro: 1 };
        assert!(matches!(none, EnvironmentError::NoPip { version, .. } if version == expected));
    }
}
