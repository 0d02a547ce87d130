//! `/api/python/executions`: executions that are started, followed and cancelled.

use std::time::Duration;

use aevatar_sandbox_contract::{
    Caller, Cancellation, ExecutionId, ExecutionState, ExecutionStatus, OutputPart, OutputStream,
    SandboxExecutionResult,
};
use aevatar_sandbox_python::OutputRange;
use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    body, events,
    idempotency::{IdempotencyHeader, idempotency_key},
    problem::{Problem, ProblemCode},
    query::{self, Path},
    refusals::{ListRefusals, ProgramRefusals, RecordRefusals},
    request::ExecuteRequest,
    shared::SharedState,
};

/// The longest that a request may wait for a result, in seconds.
const LONGEST_WAIT: f64 = 60.0;
/// Executions of one page.
const DEFAULT_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 200;

/// Start a program and answer at once.
///
/// It runs when its turn comes. Once this is answered, it is neither forgotten nor run twice, also when the server
/// crashes: what waited runs when it is up again, and what ran ends as `Interrupted`.
#[utoipa::path(
    post,
    path = "/api/python/executions",
    operation_id = "startExecution",
    tag = "executions",
    request_body(content((ExecuteRequest = "application/json"), (crate::form::ProgramForm = "multipart/form-data"))),
    params(IdempotencyHeader),
    responses(
        (status = 202, description = "It waits for its turn, or runs already", body = ExecutionState,
            headers(("Location" = String, description = "Where it can be asked for")),
            links(
                ("status" = (operation_id = "getExecution", parameters(("id" = "$response.body#/executionId")))),
                ("result" = (operation_id = "getResult", parameters(("id" = "$response.body#/executionId")))),
                ("logs" = (operation_id = "getLogs", parameters(("id" = "$response.body#/executionId")))),
                ("events" = (operation_id = "followEvents", parameters(("id" = "$response.body#/executionId")))),
                ("cancel" = (operation_id = "cancelExecution", parameters(("id" = "$response.body#/executionId")))),
            )),
        ProgramRefusals,
    )
)]
pub(crate) async fn start(shared: SharedState, request: Request) -> Result<Response, Problem> {
    shared.takes_work()?;
    let caller = caller(&request);
    let key = idempotency_key(request.headers())?;
    let request = body::read_program(&shared, request).await?.into_request()?;
    let id = shared.service.start_for(&caller, request, key).await?;
    let state = shared.service.status_for(&caller, id).await?;
    let mut response = (StatusCode::ACCEPTED, Json(state)).into_response();
    // An id is made of digits and hyphens.
    if let Ok(location) = HeaderValue::from_str(&format!("/api/python/executions/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Which execution, of a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "for the document")]
struct ExecutionPath {
    /// Which execution
    id: ExecutionId,
}

/// Which executions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParameters {
    /// Only those that are there.
    status: Option<ExecutionStatus>,
    /// How many, at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// A page of executions.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExecutionList {
    /// The newest first.
    executions: Vec<ExecutionState>,
    /// For the next page; nothing where this is the last one.
    next_cursor: Option<String>,
}

/// List executions, the newest first.
#[utoipa::path(
    get,
    path = "/api/python/executions",
    operation_id = "listExecutions",
    tag = "executions",
    params(ListParameters),
    responses((status = 200, description = "A page of them", body = ExecutionList), ListRefusals)
)]
pub(crate) async fn list(shared: SharedState, request: Request) -> Result<Json<ExecutionList>, Problem> {
    let parameters: ListParameters = query::read(request.uri())?;
    let limit = parameters.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::new(ProblemCode::InvalidRequest, format!("a `limit` of {limit} is out of range"))
            .with_field("limit")
            .with_hint(format!("give a number from 1 to {LARGEST_PAGE}")));
    }
    let before = parameters.cursor.map(|cursor| {
        cursor.parse().map_err(|_| {
            Problem::new(ProblemCode::InvalidRequest, "`cursor` is none of this server's")
                .with_field("cursor")
                .with_hint("give `nextCursor` of the page before, or leave it out")
        })
    });
    let (caller, before) = (caller(&request), before.transpose()?);
    let executions = shared.service.list_for(&caller, parameters.status, before, limit).await?;
    let is_full = executions.len() == limit as usize;
    let last = executions.last().filter(|_| is_full);
    let next_cursor = last.map(|last| last.execution_id.to_string());
    Ok(Json(ExecutionList { executions, next_cursor }))
}

/// Where an execution is.
#[utoipa::path(
    get,
    path = "/api/python/executions/{id}",
    operation_id = "getExecution",
    tag = "executions",
    params(ExecutionPath),
    responses((status = 200, description = "Its state", body = ExecutionState), RecordRefusals)
)]
pub(crate) async fn status(
    shared: SharedState,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<ExecutionState>, Problem> {
    let state = shared.service.status_for(&caller(&request), parse(&id)?).await?;
    Ok(Json(state))
}

/// How long to wait for a result.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitParameters {
    /// Seconds to wait for the end.
    #[param(minimum = 0, maximum = 60, default = 0)]
    wait: Option<f64>,
}

/// What came of an execution.
#[utoipa::path(
    get,
    path = "/api/python/executions/{id}/result",
    operation_id = "getResult",
    tag = "executions",
    params(ExecutionPath, WaitParameters),
    responses(
        (status = 200, description = "It has ended: the result", body = SandboxExecutionResult),
        (status = 202, description = "It has not ended: its state", body = ExecutionState),
        RecordRefusals,
    )
)]
pub(crate) async fn result(shared: SharedState, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    let parameters: WaitParameters = query::read(request.uri())?;
    let wait = parameters.wait.unwrap_or_default();
    if !(0.0..=LONGEST_WAIT).contains(&wait) {
        return Err(Problem::new(ProblemCode::InvalidRequest, format!("a `wait` of {wait} s is out of range"))
            .with_field("wait")
            .with_hint(format!("give a number of seconds from 0 to {LONGEST_WAIT}, and ask again")));
    }
    let (id, caller) = (parse(&id)?, caller(&request));
    let waiting = shared.service.result_for(&caller, id, Duration::from_secs_f64(wait));
    let result = tokio::select! {
        result = waiting => result?,
        // Nobody is kept waiting by a server that stops.
        () = shared.stopping.cancelled() => shared.service.result_for(&caller, id, Duration::ZERO).await?,
    };
    Ok(match result {
        Some(result) => Json(result).into_response(),
        None => (StatusCode::ACCEPTED, Json(shared.service.status_for(&caller, id).await?)).into_response(),
    })
}

/// Which part of the output.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogParameters {
    /// Which stream; stdout when left out.
    stream: Option<OutputStream>,
    /// Only what comes after so many bytes of text: `nextOffset` of the part before.
    #[param(format = "uint64", minimum = 0)]
    offset: Option<u64>,
    /// Only the last so many bytes.
    #[param(format = "uint64", minimum = 0)]
    tail: Option<u64>,
}

/// What an execution wrote so far, as far as it is kept.
#[utoipa::path(
    get,
    path = "/api/python/executions/{id}/logs",
    operation_id = "getLogs",
    tag = "executions",
    params(ExecutionPath, LogParameters),
    responses((status = 200, description = "A part of a stream", body = OutputPart), RecordRefusals)
)]
pub(crate) async fn logs(
    shared: SharedState,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<OutputPart>, Problem> {
    let parameters: LogParameters = query::read(request.uri())?;
    let range = match (parameters.offset, parameters.tail) {
        (Some(_), Some(_)) => {
            return Err(Problem::new(ProblemCode::InvalidRequest, "`offset` and `tail` are given together")
                .with_field("tail")
                .with_hint("give one of them"));
        }
        (None, Some(bytes)) => OutputRange::Last(bytes),
        (offset, None) => OutputRange::From(offset.unwrap_or_default()),
    };
    let stream = parameters.stream.unwrap_or(OutputStream::Stdout);
    Ok(Json(shared.service.output_for(&caller(&request), parse(&id)?, stream, range).await?))
}

/// After which event.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventParameters {
    /// Number of the last event that is known; the header `Last-Event-ID` comes first.
    #[param(format = "uint64", minimum = 0)]
    after: Option<u64>,
}

/// What happens to an execution, as it happens, until its end: Server-Sent Events.
///
/// `queued`, `started`, `stdout`, `stderr`, `progress`, `usage`, `result`; each with the number of the event as its `id`,
/// and JSON as its `data`. Of an execution that has ended, all of them come at once. `lost` stands for events that are no
/// longer kept.
#[utoipa::path(
    get,
    path = "/api/python/executions/{id}/events",
    operation_id = "followEvents",
    tag = "executions",
    params(
        ExecutionPath,
        ("Last-Event-ID" = Option<u64>, Header, format = "uint64", minimum = 0, description = "Number of the last event that is known"),
        EventParameters,
    ),
    responses(
        (status = 200, description = "The events", body = events::EventStream, content_type = "text/event-stream"),
        RecordRefusals,
    )
)]
pub(crate) async fn follow(shared: SharedState, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    let parameters: EventParameters = query::read(request.uri())?;
    let after = events::last_event(request.headers(), parameters.after)?;
    let events = shared.service.events_for(&caller(&request), parse(&id)?, after).await?;
    // Whether a follower has gone is nothing to look for: nothing depends on it, and there may be thousands of them.
    Ok(events::answer(events, std::future::pending()))
}

/// What came of a wish to cancel.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CancelAnswer {
    /// Which execution.
    execution_id: ExecutionId,
    /// What happened.
    outcome: Cancellation,
    /// Where it is now.
    status: ExecutionStatus,
}

/// End an execution.
///
/// It may be asked for more than once, and of an execution that has ended.
#[utoipa::path(
    delete,
    path = "/api/python/executions/{id}",
    operation_id = "deleteExecution",
    tag = "executions",
    params(ExecutionPath),
    responses((status = 200, description = "What happened", body = CancelAnswer), RecordRefusals)
)]
pub(crate) async fn delete(
    shared: SharedState,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<CancelAnswer>, Problem> {
    end(&shared, &caller(&request), &id).await
}

/// End an execution: the same as `DELETE`.
#[utoipa::path(
    post,
    path = "/api/python/executions/{id}/cancel",
    operation_id = "cancelExecution",
    tag = "executions",
    params(ExecutionPath),
    responses((status = 200, description = "What happened", body = CancelAnswer), RecordRefusals)
)]
pub(crate) async fn cancel(
    shared: SharedState,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<CancelAnswer>, Problem> {
    end(&shared, &caller(&request), &id).await
}

async fn end(shared: &SharedState, caller: &Caller, id: &str) -> Result<Json<CancelAnswer>, Problem> {
    let id = parse(id)?;
    let outcome = shared.service.cancel_for(caller, id).await?;
    let status = shared.service.status_for(caller, id).await?.status;
    Ok(Json(CancelAnswer { execution_id: id, outcome, status }))
}

/// A file that a program left.
///
/// It is what a stranger's program wrote: a browser is told to save it, not to show it.
#[utoipa::path(
    get,
    path = "/api/python/executions/{id}/files/{path}",
    operation_id = "getFile",
    tag = "executions",
    params(
        ExecutionPath,
        ("path" = String, Path, description = "`path` of one of the result's `files`; it may have slashes"),
    ),
    responses(
        (status = 200, description = "Its content", body = [u8], content_type = "application/octet-stream"),
        RecordRefusals,
    )
)]
pub(crate) async fn file(
    shared: SharedState,
    Path((id, path)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let file = shared.service.file_for(&caller(&request), parse(&id)?, &path).await?;
    let mut response = file.content.into_response();
    let headers = response.headers_mut();
    // Whatever it is: what a program says of its own file is nothing that a browser should act on.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", file.file.sha256)) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Who asks, as the door found out.
pub(crate) fn caller(request: &Request) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or_default()
}

/// # Errors
/// It is no id, so there is no execution of that id.
fn parse(id: &str) -> Result<ExecutionId, Problem> {
    id.parse().map_err(|_| {
        let shown: String = id.chars().take(64).collect();
        Problem::new(ProblemCode::NotFound, format!("there is no execution `{shown}`"))
            .with_hint("`executionId` of an answer is the id of an execution")
    })
}
