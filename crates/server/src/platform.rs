//! `/api/sandbox/…`: the same under the platform's own paths, and `"language": "python"`.

use aevatar_sandbox_contract::{ExecutionId, ExecutionState, OutputPart, SandboxExecutionResult};
use axum::{Json, extract::Request, response::Response};

use crate::{
    execute,
    executions::{self, CancelAnswer, LogParameters},
    problem::Problem,
    query::Path,
    refusals::{ProgramRefusals, RecordRefusals},
    request::ExecuteRequest,
    shared::SharedState,
};

/// Run a program and answer when it has ended: as `POST /api/python/execute`.
#[utoipa::path(
    post,
    path = "/api/sandbox/execute",
    operation_id = "sandboxExecute",
    tag = "platform",
    request_body(content((ExecuteRequest = "application/json"), (crate::form::ProgramForm = "multipart/form-data"))),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$", description = "The caller's own name for this request, of 1 to 255 visible characters: the same key and body are the same execution")),
    responses(
        (status = 200, description = "What came of the program; with `Accept: text/event-stream`, what happens until then, as of `/api/python/executions/{id}/events`",
            content((SandboxExecutionResult = "application/json"), (crate::events::EventStream = "text/event-stream"))),
        ProgramRefusals,
    )
)]
pub(crate) async fn execute(shared: SharedState, request: Request) -> Result<Response, Problem> {
    execute::execute(shared, request).await
}

/// Start a program and answer at once: as `POST /api/python/executions`.
#[utoipa::path(
    post,
    path = "/api/sandbox/execute-async",
    operation_id = "sandboxStart",
    tag = "platform",
    request_body(content((ExecuteRequest = "application/json"), (crate::form::ProgramForm = "multipart/form-data"))),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$", description = "The caller's own name for this request, of 1 to 255 visible characters: the same key and body are the same execution")),
    responses(
        (status = 202, description = "It waits for its turn, or runs already", body = ExecutionState,
            headers(("Location" = String, description = "Where it can be asked for")),
            links(
                ("status" = (operation_id = "sandboxStatus", parameters(("id" = "$response.body#/executionId")))),
                ("result" = (operation_id = "getResult", parameters(("id" = "$response.body#/executionId")))),
                ("logs" = (operation_id = "sandboxLogs", parameters(("id" = "$response.body#/executionId")))),
                ("events" = (operation_id = "followEvents", parameters(("id" = "$response.body#/executionId")))),
                ("cancel" = (operation_id = "sandboxCancel", parameters(("id" = "$response.body#/executionId")))),
            )),
        ProgramRefusals,
    )
)]
pub(crate) async fn start(shared: SharedState, request: Request) -> Result<Response, Problem> {
    executions::start(shared, request).await
}

/// Where an execution is: as `GET /api/python/executions/{id}`.
#[utoipa::path(
    get,
    path = "/api/sandbox/status/{id}",
    operation_id = "sandboxStatus",
    tag = "platform",
    params(("id" = ExecutionId, Path, description = "Which execution")),
    responses((status = 200, description = "Its state", body = ExecutionState), RecordRefusals)
)]
pub(crate) async fn status(
    shared: SharedState,
    path: Path<String>,
    request: Request,
) -> Result<Json<ExecutionState>, Problem> {
    executions::status(shared, path, request).await
}

/// What an execution wrote so far: as `GET /api/python/executions/{id}/logs`.
#[utoipa::path(
    get,
    path = "/api/sandbox/logs/{id}",
    operation_id = "sandboxLogs",
    tag = "platform",
    params(("id" = ExecutionId, Path, description = "Which execution"), LogParameters),
    responses((status = 200, description = "A part of a stream", body = OutputPart), RecordRefusals)
)]
pub(crate) async fn logs(
    shared: SharedState,
    path: Path<String>,
    request: Request,
) -> Result<Json<OutputPart>, Problem> {
    executions::logs(shared, path, request).await
}

/// End an execution: as `POST /api/python/executions/{id}/cancel`.
#[utoipa::path(
    post,
    path = "/api/sandbox/cancel/{id}",
    operation_id = "sandboxCancel",
    tag = "platform",
    params(("id" = ExecutionId, Path, description = "Which execution")),
    responses((status = 200, description = "What happened", body = CancelAnswer), RecordRefusals)
)]
pub(crate) async fn cancel(
    shared: SharedState,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<CancelAnswer>, Problem> {
    executions::end(&shared, &executions::caller(&request), &id).await
}
