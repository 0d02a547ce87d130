//! From a listening socket to the end of the server.

use std::{io, sync::Arc, time::Duration};

use aevatar_sandbox_contract::KeyStore;
use aevatar_sandbox_python::{CancellationToken, PythonSandboxService};
use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use rustix::process::{Resource, getrlimit};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{
    audit::Audit, metrics::Metrics, openapi::router, options::ServerOptions, peer::Peer, shared::Shared, warm,
};

/// Clients that may be connected at the same time, where there are descriptors for so many; more wait to be accepted.
/// Most of them follow an execution and are silent: each takes a descriptor and less than twenty kilobytes.
const CONNECTIONS: usize = 16_384;
/// The rest of the descriptors is for programs, and for what is made ready for them.
const SHARE_OF_DESCRIPTORS: (usize, usize) = (3, 4);
/// The head of a request, at most; and what is kept of an answer that a client does not take. All connections together
/// must fit into memory.
const BUFFER: usize = 64 << 10;
/// How long a client may take to send the head of a request, or to send another one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long interrupted programs may take to be cleaned up, and their answers to be sent.
const FAREWELL: Duration = Duration::from_secs(10);
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a server is told to stop.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Take no new work, and let running programs end within the grace.
    pub stop: CancellationToken,
    /// The grace is over: end running programs now.
    pub now: CancellationToken,
}

/// What is served.
#[derive(Debug)]
pub struct Server {
    /// Runs programs.
    pub service: PythonSandboxService,
    /// Keys beside those of the options.
    pub keys: Option<Arc<dyn KeyStore>>,
    /// How the door works.
    pub options: ServerOptions,
}

/// Answers requests on `listener` until `shutdown`, then ends what runs and removes what the service made. What waits
/// is left in the service's store.
///
/// # Errors
/// The listening socket has no address.
pub async fn serve(listener: TcpListener, server: Server, shutdown: Shutdown) -> io::Result<()> {
    let Server { service, keys, options } = server;
    let on_loopback = listener.local_addr()?.ip().to_canonical().is_loopback();
    let (grace, retention) = (options.shutdown_grace, options.retention);
    let metrics = Arc::new(Metrics::default());
    let service = service.with_observer(Arc::new(Audit)).with_observer(Arc::clone(&metrics) as _);
    let stop = shutdown.stop.clone();
    let shared = Arc::new(Shared::new(service.clone(), options, keys, on_loopback, metrics, stop));
    match service.recover().await {
        Ok((0, 0)) => {}
        Ok((queued, running)) => tracing::info!(queued, running, "took over what was left when a server ended"),
        Err(error) => tracing::error!("{error}"),
    }
    let keeping_up = tokio::spawn({
        let service = service.clone();
        async move { service.keep_up(retention).await }
    });
    let preparing = tokio::spawn({
        let (shared, stop) = (Arc::clone(&shared), shutdown.stop.clone());
        async move {
            shared.readiness.get_ready(stop.clone()).await;
            warm::up(&shared.service, stop).await;
        }
    });

    let connections = accept(&listener, &router(Arc::clone(&shared)), &shutdown.stop).await;
    // New clients are refused by the kernel from here on.
    drop(listener);
    tracing::info!(grace_s = grace.as_secs_f64(), "stopping: no new work");
    service.drain().await;
    let quiet = async {
        tokio::join!(connections.shutdown(), service.idle());
    };
    tokio::pin!(quiet);
    tokio::select! {
        () = &mut quiet => {}
        () = async {
            tokio::select! {
                () = tokio::time::sleep(grace) => {}
                () = shutdown.now.cancelled() => {}
            }
            service.interrupt();
            tokio::time::sleep(FAREWELL).await;
        } => tracing::warn!("some clients did not take their answers"),
    }
    drop(keeping_up.await);
    // What the backend knows, it may forget when it ends.
    warm::tell_what_would_be_worth_a_profile(&service);
    service.shutdown().await;
    drop(preparing.await);
    tracing::info!("stopped");
    Ok(())
}

/// As many as are allowed, or as the limit of open descriptors has room for.
fn most_connections() -> usize {
    let (part, whole) = SHARE_OF_DESCRIPTORS;
    let descriptors =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit.try_into().unwrap_or(usize::MAX));
    CONNECTIONS.min(descriptors / whole * part).max(1)
}

/// Accepts clients until `stop`. Returns those that are still connected.
async fn accept(listener: &TcpListener, router: &Router, stop: &CancellationToken) -> GracefulShutdown {
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(most_connections()));
    loop {
        let accepted = tokio::select! {
            accepted = async {
                // It is never closed.
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (listener.accept().await, place)
            } => accepted,
            () = stop.cancelled() => return connections,
        };
        match accepted {
            (Ok((stream, _)), place) => {
                let peer = match Peer::of(stream) {
                    Ok(peer) => peer,
                    Err(error) => {
                        tracing::warn!("could not serve a connection: {error}");
                        continue;
                    }
                };
                let stream = peer.stream();
                let handler = TowerToHyperService::new(router.clone());
                let service = service_fn(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(peer.clone());
                    handler.call(request)
                });
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .max_buf_size(BUFFER)
                    .serve_connection(TokioIo::new(stream), service);
                let serving = connections.watch(serving);
                tokio::spawn(async move {
                    // A client that breaks off, or speaks no HTTP, is its own business.
                    drop(serving.await);
                    drop(place);
                });
            }
            (Err(error), _) => {
                tracing::warn!("could not accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
