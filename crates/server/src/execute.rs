//! `POST /api/python/execute`.

use aevatar_sandbox_contract::{
    Caller, ExecutionId, SandboxError, SandboxExecutionRequest, SandboxExecutionResult, TerminationReason,
};
use aevatar_sandbox_python::{CancellationToken, ExecuteOptions};
use axum::{
    Extension, Json,
    extract::Request,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use tracing::Instrument as _;

use crate::{
    body, events, executions,
    idempotency::{IdempotencyHeader, idempotency_key},
    peer::Peer,
    problem::Problem,
    refusals::ProgramRefusals,
    request::ExecuteRequest,
    shared::SharedState,
};

/// What the log says of an execution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) id: ExecutionId,
    pub(crate) reason: TerminationReason,
}

/// Run a program and answer when it has ended.
///
/// 200 for every program that was run, whatever became of it, and for one whose only fault is its syntax. A client
/// that goes away cancels its program.
#[utoipa::path(
    post,
    path = "/api/python/execute",
    operation_id = "execute",
    tag = "python",
    request_body(content((ExecuteRequest = "application/json"), (crate::form::ProgramForm = "multipart/form-data"))),
    params(IdempotencyHeader),
    responses(
        (status = 200, description = "What came of the program; with `Accept: text/event-stream`, what happens until then, as of `/api/python/executions/{id}/events`",
            content((SandboxExecutionResult = "application/json"), (crate::events::EventStream = "text/event-stream"))),
        ProgramRefusals,
    )
)]
pub(crate) async fn execute(shared: SharedState, request: Request) -> Result<Response, Problem> {
    shared.takes_work()?;
    let peer = request.extensions().get::<Peer>().cloned();
    let (caller, key) = (executions::caller(&request), idempotency_key(request.headers())?);
    let wants_events = accepts_events(request.headers());
    let request = body::read_program(&shared, request).await?.into_request()?;
    if wants_events {
        return follow(&shared, caller, request, key, peer).await;
    }

    let cancelled = CancellationToken::new();
    // When the client goes away, this future is dropped; the task goes on, ends its program and cleans up.
    let _cancel_with_client = cancelled.clone().drop_guard();
    let (service, options) = (
        shared.service.clone(),
        ExecuteOptions { cancelled: cancelled.clone(), idempotency_key: key, ..ExecuteOptions::default() },
    );
    let running = async move { service.execute_for(&caller, request, options).await };
    let mut running = tokio::spawn(running.in_current_span());
    let outcome = tokio::select! {
        outcome = &mut running => outcome,
        () = Peer::gone(peer) => {
            cancelled.cancel();
            running.await
        }
    };
    let outcome = outcome.map_err(|error| SandboxError::broken_off("the execution", error))?;
    let result = outcome?.result;
    let outcome = Outcome { id: result.execution_id, reason: result.termination.reason };
    Ok((Extension(outcome), Json(result)).into_response())
}

/// Starts a program and tells what happens to it. A client that goes away cancels it.
async fn follow(
    shared: &SharedState,
    caller: Caller,
    request: SandboxExecutionRequest,
    key: Option<String>,
    peer: Option<Peer>,
) -> Result<Response, Problem> {
    // Under its own name it is somebody else's, too.
    let is_own = key.is_none();
    let (ends_with_client, service) = (CancellationToken::new(), shared.service.clone());
    let left = ends_with_client.clone();
    // From here on: also a client that leaves while its program is taken in must not leave it behind.
    let guard = ends_with_client.drop_guard();
    let owner = caller.clone();
    let starting = tokio::spawn(async move {
        let id = service.start_for(&owner, request, key).await?;
        if is_own {
            drop(tokio::spawn(async move {
                left.cancelled().await;
                // Of one that has ended, nothing comes of it.
                drop(service.cancel_for(&owner, id).await);
            }));
        }
        Ok::<_, SandboxError>(id)
    });
    let id = starting.await.map_err(|error| SandboxError::broken_off("the request", error))??;
    let events = shared.service.events_for(&caller, id, 0).await?;
    let events = events.inspect(move |_| {
        // It lives as long as the stream.
        let _ = &guard;
    });
    Ok(events::answer(events, Peer::gone(peer)))
}

/// Whether a client asks for events rather than for the result alone.
fn accepts_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream")))
}
