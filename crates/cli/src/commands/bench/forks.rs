//! The raw rate: how many namespaces full of Python this host can make and end in a second, with nothing around them.

use serde::{Deserialize, Serialize};

use super::{
    baselines::{Conversation, HostPython},
    statistics::float,
};

const SCRIPT: &str = include_str!("fork_rate.py");

/// Interpreters that fork at once.
const FORKERS: usize = 2;

/// What an interpreter has imported before it forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ForkProfile {
    /// Nothing.
    Bare,
    /// What a program with pandas needs.
    Pandas,
}

impl ForkProfile {
    const fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Bare => &[],
            Self::Pandas => &["numpy", "pandas"],
        }
    }
}

/// Interpreters that are ready to fork.
#[derive(Debug)]
pub(super) struct Forkers(Vec<Conversation>);

#[derive(Debug, Deserialize)]
struct Answer {
    forks: usize,
    seconds: f64,
}

impl Forkers {
    pub(super) fn start(python: &HostPython, profile: ForkProfile) -> anyhow::Result<Self> {
        let start = |_| python.conversation(SCRIPT, profile.modules());
        let mut forkers = (0..FORKERS).map(start).collect::<anyhow::Result<Vec<_>>>()?;
        for forker in &mut forkers {
            forker.hear()?;
        }
        Ok(Self(forkers))
    }

    /// Forks for some seconds; forks in a second, of all together.
    ///
    /// # Errors
    /// The host does not let this user make namespaces; stderr says more.
    pub(super) fn rate(&mut self, seconds: f64) -> anyhow::Result<f64> {
        for forker in &mut self.0 {
            forker.say(&seconds.to_string())?;
        }
        self.0.iter_mut().try_fold(0.0, |sum, forker| {
            let Answer { forks, seconds } = forker.hear_json()?;
            Ok(sum + float(forks) / seconds)
        })
    }
}
