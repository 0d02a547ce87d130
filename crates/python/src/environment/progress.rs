//! Tells a person what a preparation is doing; it may take minutes on a slow line.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aevatar_sandbox_contract::PythonVersion;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What a preparation is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrepareStep {
    /// Another process prepares the same environment; this one waits for it.
    Waiting,
    /// pip looks up and downloads wheels.
    Downloading,
    /// pip unpacks and compiles what it has downloaded.
    Installing,
    /// The dynamic loader is asked which libraries of the host are needed.
    Libraries,
    /// matplotlib's list of the host's fonts is made.
    Fonts,
}

impl PrepareStep {
    fn text(self) -> &'static str {
        match self {
            Self::Waiting => "waiting for another process that prepares this environment",
            Self::Downloading => "downloading",
            Self::Installing => "installing",
            Self::Libraries => "listing shared libraries",
            Self::Fonts => "listing fonts",
        }
    }
}

/// Hears what a preparation does. Nothing is called when the environment is ready already.
pub trait PrepareProgress: Sync {
    /// An installation starts. `packages` is unknown where dependencies are still to be found.
    fn begin(&self, environment: &str, python: PythonVersion, packages: Option<usize>);
    /// The preparation goes on to this step; steps may be left out.
    fn step(&self, step: PrepareStep);
    /// pip has turned to the package `name`, having dealt with `done` others.
    fn package(&self, done: usize, total: Option<usize>, name: &str);
    /// Something did not work that the environment can do without.
    fn warning(&self, message: &str);
    /// The installation that [`PrepareProgress::begin`] announced has succeeded.
    fn finish(&self, elapsed: Duration);
    /// Nothing more comes of a preparation that did something, whatever became of it.
    fn end(&self) {}
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl PrepareProgress for NoProgress {
    fn begin(&self, _environment: &str, _python: PythonVersion, _packages: Option<usize>) {}
    fn step(&self, _step: PrepareStep) {}
    fn package(&self, _done: usize, _total: Option<usize>, _name: &str) {}
    fn warning(&self, _message: &str) {}
    fn finish(&self, _elapsed: Duration) {}
}

/// Writes to standard error: a progress bar on a terminal; elsewhere one line at the start and one at the end.
#[derive(Debug)]
pub struct TerminalProgress {
    terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Default for TerminalProgress {
    fn default() -> Self {
        Self::new()
    }
}

impl TerminalProgress {
    /// Looks at standard error to choose between the bar and plain lines.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), bar: Mutex::new(None) }
    }

    fn line(text: &str) {
        // Nobody is left to be told that standard error is closed.
        writeln!(std::io::stderr(), "{text}").ok();
    }

    fn with_bar(&self, act: impl FnOnce(&ProgressBar)) {
        if self.terminal {
            let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
            act(bar.get_or_insert_with(|| start_bar(None)));
        }
    }
}

impl PrepareProgress for TerminalProgress {
    fn begin(&self, environment: &str, python: PythonVersion, packages: Option<usize>) {
        let what = match environment {
            super::DEFAULT_ENVIRONMENT => "the Python environment".to_owned(),
            name => format!("the Python environment `{name}`"),
        };
        let count = packages.map_or_else(|| "packages".to_owned(), |packages| format!("{packages} packages"));
        let announcement = format!("preparing {what} (once): {count} for CPython {python} …");
        if self.terminal {
            let bar = start_bar(packages);
            bar.println(announcement);
            *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
        } else {
            Self::line(&announcement);
        }
    }

    fn step(&self, step: PrepareStep) {
        self.with_bar(|bar| bar.set_message(step.text()));
        if step == PrepareStep::Waiting && !self.terminal {
            Self::line(step.text());
        }
    }

    fn package(&self, done: usize, _total: Option<usize>, name: &str) {
        self.with_bar(|bar| {
            bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
            bar.set_message(format!("{} {name}", PrepareStep::Downloading.text()));
        });
    }

    fn warning(&self, message: &str) {
        let text = format!("warning: {message}");
        if self.terminal { self.with_bar(|bar| bar.println(&text)) } else { Self::line(&text) }
    }

    fn finish(&self, elapsed: Duration) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
        Self::line(&format!("the Python environment is ready ({:.1} s)", elapsed.as_secs_f64()));
    }

    fn end(&self) {
        // After an error, after waiting for another process, or when only fonts were listed: a bar that goes on turning
        // would stand in what the program writes.
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for TerminalProgress {
    fn drop(&mut self) {
        self.end();
    }
}

fn start_bar(packages: Option<usize>) -> ProgressBar {
    let target = ProgressDrawTarget::stderr();
    let length = packages.and_then(|packages| u64::try_from(packages).ok());
    let bar = ProgressBar::with_draw_target(length, target);
    let template = if length.is_some() {
        "{spinner} {bar:30} {pos}/{len} {wide_msg} {elapsed}"
    } else {
        "{spinner} {wide_msg} {elapsed}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
