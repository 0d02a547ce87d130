//! `POST /api/python/execute`.

use aevatar_sandbox_contract::{ErrorCode, ExecutionId, SandboxError, SandboxExecutionResult, TerminationReason};
use aevatar_sandbox_python::{CancellationToken, ExecutionStreams};
use axum::{
    Extension, Json,
    extract::Request,
    response::{IntoResponse, Response},
};

use crate::{
    body,
    peer::Peer,
    problem::{Problem, ProblemDetails},
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
    tag = "python",
    request_body = ExecuteRequest,
    responses(
        (status = 200, description = "What came of the program", body = SandboxExecutionResult),
        (status = 400, description = "The request makes no sense", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The host is called by a name that it does not go by", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 408, description = "The request took too long to arrive", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 413, description = "The request or the program is too large", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared to be JSON", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 422, description = "The program breaks a rule", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 429, description = "As many programs run as may", body = ProblemDetails, content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds after which it is worth asking again"))),
        (status = 500, description = "The sandbox failed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The server is stopping, or cannot run programs", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn execute(shared: SharedState, request: Request) -> Result<Response, Problem> {
    shared.takes_work()?;
    let peer = request.extensions().get::<Peer>().cloned();
    let request: ExecuteRequest = body::read(&shared, request, &ExecuteRequest::SHAPE).await?;
    let request = request.into_request()?;

    let cancelled = CancellationToken::new();
    // When the client goes away, this future is dropped; the task goes on, ends its program and cleans up.
    let _cancel_with_client = cancelled.clone().drop_guard();
    let (service, token) = (shared.service.clone(), cancelled.clone());
    let mut running =
        tokio::spawn(async move { service.execute_with(request, ExecutionStreams::default(), token).await });
    let outcome = tokio::select! {
        outcome = &mut running => outcome,
        () = Peer::gone(peer) => {
            cancelled.cancel();
            running.await
        }
    };
    let outcome = outcome.map_err(|error| {
        SandboxError::new(ErrorCode::SandboxFailure, "the execution was broken off").with_source(error)
    })?;
    let result = outcome?;
    let outcome = Outcome { id: result.execution_id, reason: result.termination.reason };
    Ok((Extension(outcome), Json(result)).into_response())
}
