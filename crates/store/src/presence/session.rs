//! Servers that share a PostgreSQL database: each holds a lock of a session, which PostgreSQL lets go when the session
//! ends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{AnyConnection, Connection, Executor, any::AnyConnectOptions};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::ServerId;
use crate::Problem;

/// How often it is looked whether the session lives.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// How long PostgreSQL may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the end of a server waits for PostgreSQL.
const GRACE: Duration = Duration::from_secs(2);

/// PostgreSQL notices within half a minute that a host is gone, and lets go of its locks. Of no effect on a socket of
/// the same host.
const KEEPALIVE: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;";

/// A session with a lock, and a task that makes a new one when it is lost.
#[derive(Debug)]
pub(crate) struct Session {
    id: Arc<Mutex<ServerId>>,
    stop: Arc<Notify>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Session {
    pub(super) async fn open(options: AnyConnectOptions) -> Result<Self, Problem> {
        let id = ServerId::generate();
        let connection = hold(&options, id).await?.ok_or("a new server's lock in PostgreSQL is another one's")?;
        let id = Arc::new(Mutex::new(id));
        let stop = Arc::new(Notify::new());
        let keeper = tokio::spawn(keep(options, connection, Arc::clone(&id), Arc::clone(&stop)));
        Ok(Self { id, stop, keeper: Mutex::new(Some(keeper)) })
    }

    pub(super) fn id(&self) -> ServerId {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn close(&self) {
        self.stop.notify_one();
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut keeper) = keeper else { return };
        match timeout(GRACE, &mut keeper).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the task that holds this server's lock in PostgreSQL failed"),
            Err(_) => keeper.abort(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            keeper.abort();
        }
    }
}

/// A session that holds the lock of `id`. Nothing when another session holds it.
async fn hold(options: &AnyConnectOptions, id: ServerId) -> Result<Option<AnyConnection>, Problem> {
    let attempt = async {
        let mut connection = AnyConnection::connect_with(options).await?;
        connection.execute(KEEPALIVE).await?;
        let held: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(id.lock()).fetch_one(&mut connection).await?;
        Ok::<_, sqlx::Error>(held.then_some(connection))
    };
    Ok(timeout(PATIENCE, attempt).await.map_err(|_| "PostgreSQL did not answer")??)
}

/// Holds a lock until it is told to stop.
///
/// When the session was lost, others may have taken over what this server had: those are theirs, since they are recorded
/// so. What is left is still this server's if it gets its old lock back. It gets none while somebody takes over, or
/// while PostgreSQL has not noticed the loss: then it is a new server, and has nothing.
async fn keep(options: AnyConnectOptions, first: AnyConnection, id: Arc<Mutex<ServerId>>, stop: Arc<Notify>) {
    let mut held = Some(first);
    loop {
        tokio::select! {
            () = stop.notified() => break,
            () = sleep(LOOK_EVERY) => {}
        }
        if let Some(connection) = &mut held {
            if matches!(timeout(PATIENCE, connection.ping()).await, Ok(Ok(()))) {
                continue;
            }
            tracing::warn!("lost the connection to PostgreSQL that shows that this server lives");
            held = None;
        }
        let old = *id.lock().unwrap_or_else(PoisonError::into_inner);
        match hold(&options, old).await {
            Ok(Some(connection)) => held = Some(connection),
            Ok(None) => {
                let new = ServerId::generate();
                match hold(&options, new).await {
                    Ok(connection) if connection.is_some() => {
                        tracing::warn!(%old, %new, "this server is a new one to the others");
                        *id.lock().unwrap_or_else(PoisonError::into_inner) = new;
                        held = connection;
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "could not show that this server lives"),
                }
            }
            Err(error) => tracing::warn!(%error, "could not show that this server lives"),
        }
    }
    if let Some(connection) = held
        && let Err(error) = let_go(connection).await
    {
        tracing::debug!(%error, "PostgreSQL is left to notice that this server has ended");
    }
}

/// By itself, PostgreSQL lets go of the lock a moment after the connection has ended.
async fn let_go(mut connection: AnyConnection) -> Result<(), sqlx::Error> {
    connection.execute("SELECT pg_advisory_unlock_all()").await?;
    connection.close().await
}
