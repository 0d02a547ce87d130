//! The span of a request, for OpenTelemetry. Without a collector there are no spans, and none of this does anything.

use axum::http::{HeaderMap, Method};
use opentelemetry::{global, trace::TraceContextExt as _};
use opentelemetry_http::HeaderExtractor;
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::execute::Outcome;

/// The span of a request to `route`, in the trace that its `traceparent` tells of.
pub(crate) fn begin(method: &Method, route: &str, path: &str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %method,
        http.route = route,
        url.path = path,
        http.response.status_code = Empty,
        execution.id = Empty,
        execution.reason = Empty,
    );
    if !span.is_disabled() {
        let parent = global::get_text_map_propagator(|propagator| propagator.extract(&HeaderExtractor(headers)));
        // It was made just now, so it has none.
        drop(span.set_parent(parent));
    }
    span
}

/// Ends the span with the answer: what was started by it may go on for long, and a span stays open until its children
/// have ended.
pub(crate) fn end(span: &Span, status: u16, outcome: Option<&Outcome>) {
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
    if let Some(outcome) = outcome {
        span.record("execution.id", tracing::field::display(outcome.id));
        span.record("execution.reason", tracing::field::debug(outcome.reason));
    }
    span.context().span().end();
}
