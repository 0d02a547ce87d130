//! Aevatar Sandbox: runs untrusted Python in a kernel-enforced sandbox.
//!
//! ```no_run
#![doc = include_str!("../../../examples/embed.rs")]
//! ```
//!
//! [`enter_if_requested`] must come first in `main`: the sandbox engine is this same executable, started again.

pub mod configuration;

use std::{path::PathBuf, sync::Arc};

pub use aevatar_sandbox_contract::*;
pub use aevatar_sandbox_jail::enter_if_requested;
pub use aevatar_sandbox_local::{BARE, LocalBackend, LocalBackendOptions, ZygoteOptions, ZygoteProfile};
pub use aevatar_sandbox_python::{
    CancellationToken, DangerousConstructs, EnvironmentError, EnvironmentSelection, EnvironmentSummary, ExecuteOptions,
    ExecutionObserver, ExecutionOutcome, ExecutionStreams, ImportRules, NoProgress, OutputRange, PrepareProgress,
    PythonCodeValidator, PythonEnvironmentManager, PythonExecutionMonitor, PythonSandboxService, QueueState,
    ServiceOptions, TerminalProgress, ValidatorOptions,
};

pub use aevatar_sandbox_store::{ConnectionString, Store, StoreLocation};

/// A service that runs programs on this host, with environments and disk images in the user's cache. Programs start in
/// interpreters forked from warm ones, which are made after the first program came; [`PythonSandboxService::warm_up`]
/// makes them before.
///
/// # Errors
/// There is no place for a cache: neither `AEVATAR_SANDBOX_CACHE` nor `XDG_CACHE_HOME` nor `HOME` is set.
pub fn local_service(tier: IsolationTier) -> Result<PythonSandboxService, SandboxError> {
    Ok(local_service_in(cache_folder()?, tier, ServiceOptions::default()))
}

/// The same with everything chosen. With [`ZygoteMode::Off`] every program starts cold, and nothing is kept warm.
pub fn local_service_in(cache: PathBuf, tier: IsolationTier, options: ServiceOptions) -> PythonSandboxService {
    let zygotes = match options.zygote {
        ZygoteMode::On => Some(ZygoteOptions::default()),
        ZygoteMode::Off => None,
    };
    let backend = LocalBackend::new(&LocalBackendOptions { tier, state_folder: cache.clone(), zygotes });
    PythonSandboxService::new(Arc::new(backend), PythonEnvironmentManager::new(cache), options)
}

/// Where environments and disk images are kept.
///
/// # Errors
/// As [`local_service`].
pub fn cache_folder() -> Result<PathBuf, SandboxError> {
    PythonEnvironmentManager::user_cache().map_err(|error| {
        SandboxError::new(ErrorCode::EnvironmentUnavailable, error.to_string())
            .with_hint(error.hint())
            .with_source(error)
    })
}

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
