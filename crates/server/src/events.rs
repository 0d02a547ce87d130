//! Server-Sent Events: what happens to an execution, as it happens.

use std::{convert::Infallible, future::Future, time::Duration};

use aevatar_sandbox_contract::{ExecutionEvent, Occurrence};
use axum::{
    http::{HeaderMap, HeaderValue},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Problem, ProblemCode};

/// A comment is sent when nothing else was for so long, so that neither end takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// When a client whose connection was lost may come again.
const RETRY: Duration = Duration::from_secs(1);

/// Server-Sent Events: the whole a text, or, for a client that reads it event by event, one of those.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the document")]
pub(crate) enum EventStream {
    Text(String),
    Event(ServerSentEvent),
}

/// One event of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerSentEvent {
    /// Number of the event; for `Last-Event-ID`.
    #[schema(example = "3")]
    id: String,
    /// What it tells.
    event: EventName,
    /// JSON: an `ExecutionState` of `queued` and `started`, a `SandboxExecutionResult` of `result`.
    #[schema(content_media_type = "application/json")]
    data: String,
    /// Milliseconds after which a client whose connection was lost may come again.
    #[schema(required = false)]
    retry: Option<u64>,
}

/// What an event tells.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document")]
pub(crate) enum EventName {
    /// It waits.
    Queued,
    /// It runs.
    Started,
    /// It wrote to stdout.
    Stdout,
    /// It wrote to stderr.
    Stderr,
    /// It told how far it is.
    Progress,
    /// What it uses now.
    Usage,
    /// Events that are no longer kept.
    Lost,
    /// It has ended: the last event.
    Result,
}

/// The number of the last event that a client has: from its header, as `EventSource` sends it, or from its URL.
///
/// # Errors
/// It is no number.
pub(crate) fn last_event(headers: &HeaderMap, parameter: Option<u64>) -> Result<u64, Problem> {
    let Some(header) = headers.get("last-event-id") else { return Ok(parameter.unwrap_or_default()) };
    header.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        Problem::new(ProblemCode::InvalidRequest, "`Last-Event-ID` is no number of an event")
            .with_field("Last-Event-ID")
            .with_hint("send the `id` of the last event that came, or leave it out")
    })
}

/// `events` until the last one, or until `until`.
pub(crate) fn answer(
    events: impl Stream<Item = ExecutionEvent> + Send + 'static,
    until: impl Future<Output = ()> + Send + 'static,
) -> Response {
    let events = events.map(|event| Ok::<_, Infallible>(encode(&event))).take_until(until);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // What lies between must not wait for more of it.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn encode(event: &ExecutionEvent) -> Event {
    let encoded = Event::default().id(event.id.to_string()).event(event.what.name());
    let encoded = if event.id == 1 { encoded.retry(RETRY) } else { encoded };
    let data = match &event.what {
        Occurrence::Queued(state) | Occurrence::Started(state) => serde_json::to_string(state),
        Occurrence::Stdout(piece) | Occurrence::Stderr(piece) => serde_json::to_string(piece),
        Occurrence::Progress(progress) => serde_json::to_string(progress),
        Occurrence::Usage(usage) => serde_json::to_string(usage),
        Occurrence::Lost(lost) => serde_json::to_string(lost),
        Occurrence::Result(result) => serde_json::to_string(result),
    };
    // Plain data always serialises; JSON has no line breaks.
    encoded.data(data.unwrap_or_default())
}
