//! Whether programs can be run: the environment is prepared and a sandbox works.

use std::time::Duration;

use aevatar_sandbox_contract::{ErrorCode, ExecutionStatus, SandboxError};
use aevatar_sandbox_python::{CancellationToken, PythonSandboxService};
use tokio::{sync::Mutex, time::Instant};

/// The program that shows that a sandbox works.
const PROGRAM: &str = "print('ready')";
/// How long a look counts.
const FRESH: Duration = Duration::from_secs(5);
/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to get ready, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The environment is being prepared.
    Starting,
    Ready,
    Failing {
        detail: String,
        hint: Option<String>,
    },
}

pub(crate) struct Readiness {
    service: PythonSandboxService,
    /// The last look, and when it was; only one is taken at a time.
    last: Mutex<(State, Option<Instant>)>,
}

impl Readiness {
    pub(crate) fn new(service: PythonSandboxService) -> Self {
        Self { service, last: Mutex::new((State::Starting, None)) }
    }

    /// Prepares the environment and tries a sandbox, until both have worked once or `stopping`.
    pub(crate) async fn get_ready(&self, stopping: CancellationToken) {
        let mut pause = Duration::from_secs(1);
        loop {
            let state = tokio::select! {
                state = self.prepare() => state,
                () = stopping.cancelled() => return,
            };
            match &state {
                State::Ready => tracing::info!("ready"),
                State::Starting => {}
                State::Failing { detail, hint } => tracing::error!(hint, "not ready: {detail}"),
            }
            let ready = state == State::Ready;
            *self.last.lock().await = (state, Some(Instant::now()));
            if ready {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = stopping.cancelled() => return,
            }
        }
    }

    /// The state, looked at again if the last look is old.
    pub(crate) async fn state(&self) -> State {
        let mut last = self.last.lock().await;
        let Some(at) = last.1 else { return State::Starting };
        if at.elapsed() < FRESH {
            return last.0.clone();
        }
        if let Some(state) = self.try_a_sandbox().await {
            *last = (state, Some(Instant::now()));
        }
        last.0.clone()
    }

    async fn prepare(&self) -> State {
        match self.service.prepare(None).await {
            Ok(_) => self.try_a_sandbox().await.unwrap_or(State::Ready),
            Err(error) => failing(error),
        }
    }

    /// Runs the program. Nothing is learnt when all places are taken.
    async fn try_a_sandbox(&self) -> Option<State> {
        let running = self.service.self_check(PROGRAM);
        let Ok(outcome) = tokio::time::timeout(PATIENCE, running).await else {
            return Some(State::Failing {
                detail: format!("a trivial program did not end within {} s", PATIENCE.as_secs()),
                hint: Some("the host is overloaded".to_owned()),
            });
        };
        let state = match outcome {
            Ok(None) => return None,
            Ok(Some(result)) if result.status == ExecutionStatus::Completed => State::Ready,
            Ok(Some(result)) => State::Failing {
                detail: format!("a trivial program failed in the sandbox: {}", result.termination.message),
                hint: Some("run `aevatar-sandbox doctor` on this host".to_owned()),
            },
            Err(error) if error.code == ErrorCode::Busy => return None,
            Err(error) => failing(error),
        };
        Some(state)
    }
}

fn failing(error: SandboxError) -> State {
    State::Failing { detail: error.message, hint: error.hint }
}
