//! What a server tells of itself: its log, and traces where there is a collector.

use std::{
    io::IsTerminal as _,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use aevatar_sandbox::{
    ErrorCode, SandboxError,
    configuration::{Configuration, LogFormat},
};
use async_trait::async_trait;
use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, hyper::HyperClient};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::{FilterFn, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

/// How long the collector may take to answer, and the last spans to be sent at the end.
const PATIENCE: Duration = Duration::from_secs(3);
/// Where a collector takes traces, by the specification of OTLP over HTTP.
const TRACES: &str = "/v1/traces";

/// What is to be ended with the server.
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts the log, and traces where there is a collector.
///
/// # Errors
/// The collector's address makes no sense, or a log was started before.
pub(crate) fn start(configuration: &Configuration, runtime: &Handle) -> anyhow::Result<Telemetry> {
    let traces = configuration.otlp_endpoint.as_deref().map(|endpoint| provider(endpoint, runtime)).transpose()?;
    let spans = traces.as_ref().map(|traces| {
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer("aevatar-sandbox"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(only(|metadata| metadata.is_span() && metadata.target().starts_with("aevatar_sandbox")))
    });
    if traces.is_some() {
        global::set_text_map_propagator(TraceContextPropagator::new());
    }
    tracing_subscriber::registry().with(log(configuration.log_format)).with(spans).try_init()?;
    Ok(Telemetry { traces })
}

impl Telemetry {
    /// Sends what was not sent yet, for a few seconds at most.
    pub(crate) fn end(self) {
        if let Some(traces) = self.traces
            && let Err(error) = traces.shutdown_with_timeout(PATIENCE)
        {
            tracing::debug!("the last traces were not sent: {error}");
        }
    }
}

/// The lines of the log. Spans are none of them, so that a line is the same whether or not there are traces.
fn log<S: Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync> {
    let lines = fmt::layer().with_writer(std::io::stderr);
    let events = only(|metadata| !metadata.is_span());
    match format {
        LogFormat::Text => {
            lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).with_filter(events).boxed()
        }
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).with_filter(events).boxed()
        }
    }
}

fn only(is_wanted: fn(&Metadata<'_>) -> bool) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    filter_fn(move |metadata| *metadata.level() <= LevelFilter::INFO && is_wanted(metadata))
        .with_max_level_hint(LevelFilter::INFO)
}

/// Collects spans and sends them from a thread of its own. A queue that is full drops what comes.
fn provider(endpoint: &str, runtime: &Handle) -> anyhow::Result<SdkTracerProvider> {
    let wrong = |why: String| {
        SandboxError::new(ErrorCode::InvalidRequest, format!("`OtlpEndpoint` is `{endpoint}`: {why}"))
            .with_hint("name a collector as in `http://127.0.0.1:4318`; one on this host can go on over TLS")
    };
    if !endpoint.starts_with("http://") {
        return Err(wrong("expected an address that begins with `http://`".to_owned()).into());
    }
    let base = endpoint.trim_end_matches('/');
    let address = if base.ends_with(TRACES) { base.to_owned() } else { format!("{base}{TRACES}") };
    let client = Client {
        hyper: HyperClient::with_default_connector(PATIENCE, None),
        runtime: runtime.clone(),
        failing: AtomicBool::new(false),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(address)
        .with_timeout(PATIENCE)
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let resource = Resource::builder()
        .with_service_name("aevatar-sandbox")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

/// Sends spans on the server's runtime: the thread that has them is not of it.
#[derive(Debug)]
struct Client {
    hyper: HyperClient,
    runtime: Handle,
    failing: AtomicBool,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let hyper = self.hyper.clone();
        let sent = self.runtime.spawn(async move { hyper.send_bytes(request).await }).await;
        let answer = sent.unwrap_or_else(|error| Err(error.into()));
        let problem = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answered {}", answer.status())),
            Err(error) => Some(in_full(&**error)),
        };
        // Once for each time that it begins: a collector that is down for a night is no news every few seconds.
        let was_failing = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !was_failing => tracing::warn!("traces are lost: {problem}"),
            None if was_failing => tracing::info!("traces are sent again"),
            _ => {}
        }
        answer
    }
}

/// An error with what is behind it: the first words alone do not say what is wrong.
fn in_full(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
