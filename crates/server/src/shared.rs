//! What all requests share.

use std::sync::Arc;

use aevatar_sandbox_contract::KeyStore;
use aevatar_sandbox_python::{CancellationToken, PythonSandboxService};

use crate::{
    body::BodyBudget, caller::Keys, metrics::Metrics, options::ServerOptions, problem::Problem, readiness::Readiness,
};

pub(crate) struct Shared {
    pub(crate) service: PythonSandboxService,
    pub(crate) options: ServerOptions,
    pub(crate) bodies: BodyBudget,
    pub(crate) readiness: Readiness,
    pub(crate) keys: Keys,
    pub(crate) metrics: Arc<Metrics>,
    /// The server takes no new work.
    pub(crate) stopping: CancellationToken,
    /// Whether only this machine can reach the door.
    pub(crate) on_loopback: bool,
}

pub(crate) type SharedState = axum::extract::State<Arc<Shared>>;

impl Shared {
    pub(crate) fn new(
        service: PythonSandboxService,
        options: ServerOptions,
        keys: Option<Arc<dyn KeyStore>>,
        on_loopback: bool,
        metrics: Arc<Metrics>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            bodies: BodyBudget::new(options.max_request_bytes),
            readiness: Readiness::new(service.clone()),
            keys: Keys::new(options.api_keys.clone(), keys),
            metrics,
            service,
            options,
            stopping,
            on_loopback,
        }
    }

    /// # Errors
    /// The server is stopping.
    pub(crate) fn takes_work(&self) -> Result<(), Problem> {
        if self.stopping.is_cancelled() { Err(Problem::stopping()) } else { Ok(()) }
    }
}
