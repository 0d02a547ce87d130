//! `aevatar-sandbox serve`.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use aevatar_sandbox::{
    ErrorCode, KeyStore, LocalBackend, LocalBackendOptions, PythonEnvironmentManager, PythonSandboxService,
    SandboxError,
    configuration::{Configuration, ConfigurationOverride},
};
use aevatar_sandbox_server::{ApiKey, Server, ServerOptions, Shutdown};
use aevatar_sandbox_store::Store;
use anyhow::Context;
use clap::{Args, ValueEnum};
use rustix::process::{Resource, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use sd_notify::NotifyState;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{Isolation, PythonArgument, configured, records, telemetry};

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,

    /// Port to listen on; 0 for any that is free [default: 5000]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    /// Configuration: the section `PythonSandbox` of a JSON file [default: appsettings.json, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where Python environments and disk images are kept [default: the user's cache]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// How much isolation to insist on [default: default]
    #[arg(long, value_enum, env = "AEVATAR_SANDBOX_ISOLATION")]
    isolation: Option<Isolation>,

    /// Serve other machines although no keys are configured
    #[arg(long)]
    allow_unauthenticated: bool,

    /// Whether programs may start in interpreters forked from warm ones [default: on]
    #[arg(long, value_enum, value_name = "MODE")]
    zygote: Option<ZygoteArgument>,

    /// End when the process ends that started this one, as a bench does even after a SIGKILL
    #[arg(long, hide = true)]
    end_with_parent: bool,

    #[command(flatten)]
    python: PythonArgument,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ZygoteArgument {
    /// Forked from one that has imported what the program needs
    On,
    /// Always a fresh one, with an address-space layout and a hash seed of its own
    Off,
}

impl ServeArguments {
    fn overrides(&self) -> Vec<ConfigurationOverride> {
        let flag = |key: &str, flag: &str, value: String| ConfigurationOverride::new(key, value, flag);
        let mut overrides = Vec::new();
        overrides.extend(self.host.map(|host| flag("Host", "--host", host.to_string())));
        overrides.extend(self.port.map(|port| flag("Port", "--port", port.to_string())));
        overrides
            .extend(self.data_dir.iter().map(|folder| flag("DataDir", "--data-dir", folder.display().to_string())));
        overrides.extend(self.isolation.map(configured::isolation));
        overrides.extend(self.python.python.iter().map(|python| configured::python(python)));
        if self.allow_unauthenticated {
            overrides.push(flag("AllowUnauthenticated", "--allow-unauthenticated", "true".to_owned()));
        }
        overrides.extend(self.zygote.map(|zygote| {
            let word = match zygote {
                ZygoteArgument::On => "On",
                ZygoteArgument::Off => "Off",
            };
            flag("Zygote", "--zygote", word.to_owned())
        }));
        overrides
    }
}

pub(crate) fn run(arguments: ServeArguments) -> anyhow::Result<ExitCode> {
    if arguments.end_with_parent {
        set_parent_process_death_signal(Some(Signal::TERM)).context("could not ask for the death of the parent")?;
    }
    let overrides = arguments.overrides();
    let configuration = configured::load_for_server(arguments.config, overrides)?;
    let runtime = tokio::runtime::Runtime::new().context("could not start the runtime")?;
    let telemetry = telemetry::start(&configuration, runtime.handle())?;
    raise_descriptor_limit();

    let served: anyhow::Result<()> = runtime.block_on(async {
        let folder = configured::data_folder(&configuration)?;
        let store = Arc::new(records::open(&configuration, &folder).await?);
        check_exposure(&configuration, &store).await?;
        let address = SocketAddr::new(configuration.host, configuration.port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            SandboxError::new(ErrorCode::InvalidRequest, format!("could not listen on {address}: {error}"))
                .with_hint("choose another address or port with `--host` and `--port`")
                .with_source(error)
        })?;
        let shutdown = Shutdown::default();
        let listening = stop_on_signals(shutdown.clone()).context("could not listen for signals")?;
        let service = service(&configuration, folder).with_store(Arc::<Store>::clone(&store));
        tracing::info!("listening on http://{}", listener.local_addr().context("the socket has no address")?);
        tell_supervisor(&[NotifyState::Ready]);
        tokio::spawn({
            let stop = shutdown.stop.clone();
            async move {
                stop.cancelled().await;
                tell_supervisor(&[NotifyState::Stopping]);
            }
        });
        let keys: Arc<dyn KeyStore> = Arc::<Store>::clone(&store);
        let server = Server { service, keys: Some(keys), options: server_options(&configuration) };
        let ended = aevatar_sandbox_server::serve(listener, server, shutdown).await;
        store.close().await;
        listening.abort();
        ended.context("could not serve")
    });
    telemetry.end();
    // An environment that is still being prepared must not hold up the end; its pip ends when nobody hears it.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

/// # Errors
/// Anybody could run programs here.
async fn check_exposure(configuration: &Configuration, store: &Store) -> anyhow::Result<()> {
    let Err(error) = server_options(configuration).check_exposure(configuration.host) else { return Ok(()) };
    let keys = store.keys().await.context("could not look up keys")?;
    if keys.iter().any(|key| key.revoked_at.is_none()) {
        return Ok(());
    }
    Err(SandboxError::new(ErrorCode::InvalidRequest, error.to_string())
        .with_hint(
            "make a key with `aevatar-sandbox key create`, configure `ApiKeys`, listen on 127.0.0.1, or say \
             `--allow-unauthenticated` if something in front of it authenticates",
        )
        .into())
}

/// Tells systemd, or whoever started this and listens, where it is.
fn tell_supervisor(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("could not tell the supervisor: {error}");
    }
}

fn service(configuration: &Configuration, folder: PathBuf) -> PythonSandboxService {
    let backend = LocalBackend::new(&LocalBackendOptions {
        tier: configuration.isolation,
        state_folder: folder.clone(),
        zygotes: configuration.zygote_options(),
    });
    let environments = PythonEnvironmentManager::new(folder);
    PythonSandboxService::new(Arc::new(backend), environments, configuration.service_options())
        .with_progress(aevatar_sandbox::TerminalProgress::new())
}

fn server_options(configuration: &Configuration) -> ServerOptions {
    ServerOptions {
        api_keys: configuration.api_keys.iter().map(|key| ApiKey::new(key.reveal())).collect(),
        allow_unauthenticated: configuration.allow_unauthenticated,
        allowed_hosts: configuration.allowed_hosts.clone(),
        max_request_bytes: usize::try_from(configuration.max_request_bytes.bytes()).unwrap_or(usize::MAX),
        body_timeout: configuration.body_timeout,
        shutdown_grace: configuration.shutdown_grace,
        retention: configuration.retention,
    }
}

/// The first signal stops the server with a grace, the second one at once.
fn stop_on_signals(shutdown: Shutdown) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(tokio::spawn(async move {
        for token in [shutdown.stop, shutdown.now] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            token.cancel();
        }
    }))
}

/// Each client and each running program takes descriptors; many systems start a service with 1024 and allow far more.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("could not raise the limit of open descriptors: {error}");
    }
}
