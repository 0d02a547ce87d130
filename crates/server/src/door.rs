//! Who may come in, before anything of a request is looked at.

use std::{net::IpAddr, sync::Arc, time::Instant};

use aevatar_sandbox_contract::Caller;
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::{
    Instrument as _,
    field::{debug, display},
};

use crate::{
    docs,
    execute::Outcome,
    metrics::{CLIENT_GONE, Metrics},
    problem::{Problem, ProblemCode},
    shared::Shared,
    trace,
};

/// Paths that an orchestrator asks every few seconds.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];
/// Paths that need no key: health, and what is known of the service without it.
const OPEN: [&str; 6] = [HEALTH[0], HEALTH[1], "/openapi.json", docs::PAGE, docs::STYLE, docs::SCRIPT];

/// Paths that are asked every few seconds: nothing is told of them.
const QUIET: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Lets a request pass, or answers it.
pub(crate) async fn guard(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let mut entry = Entry::of(&shared, &request);
    let path = entry.path.clone();
    let span = if entry.quiet {
        tracing::Span::none()
    } else {
        trace::begin(&entry.method, &entry.route, &path, request.headers())
    };
    let answering = async {
        match check(&shared, &path, request.headers()).await {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(problem) => problem.into_response(),
        }
    };
    let mut response = answering.instrument(span.clone()).await;
    trace::end(&span, response.status().as_u16(), response.extensions().get());
    entry.answered(&response);
    guard_browsers(response.headers_mut());
    response
}

/// What a browser may do with an answer: neither keep, run, frame nor pass on. The page of documentation, and files,
/// have a policy of their own.
fn guard_browsers(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
}

/// What is told of a request: one line of the log, and counts.
struct Entry {
    metrics: Arc<Metrics>,
    method: Method,
    path: String,
    /// The pattern that the path fits; not what a client invents.
    route: String,
    asked: Instant,
    quiet: bool,
    open: bool,
}

impl Entry {
    fn of(shared: &Shared, request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
        let path = request.uri().path();
        Self {
            metrics: Arc::clone(&shared.metrics),
            method: request.method().clone(),
            path: path.to_owned(),
            route: route.to_owned(),
            asked: Instant::now(),
            quiet: QUIET.contains(&path),
            open: true,
        }
    }

    fn answered(&mut self, response: &Response) {
        self.open = false;
        let took = self.asked.elapsed();
        let status = response.status().as_u16();
        self.metrics.requests.answered(&self.route, &self.method, status, took);
        if let Some(code) = response.extensions().get::<ProblemCode>() {
            self.metrics.requests.rejected(*code);
            if *code == ProblemCode::StoreUnavailable {
                self.metrics.store_failed();
            }
        }
        if self.quiet {
            return;
        }
        let Self { method, path, .. } = self;
        let outcome = response.extensions().get::<Outcome>();
        let (id, reason) = (outcome.map(|outcome| display(outcome.id)), outcome.map(|outcome| debug(outcome.reason)));
        let took_ms = took.as_millis();
        if response.status().is_server_error() {
            tracing::error!(%method, path, status, took_ms, id, reason, "answered");
        } else {
            tracing::info!(%method, path, status, took_ms, id, reason, "answered");
        }
    }
}

impl Drop for Entry {
    /// The future that answers a request is dropped when its client goes away.
    fn drop(&mut self) {
        if self.open {
            let took = self.asked.elapsed();
            self.metrics.requests.answered(&self.route, &self.method, CLIENT_GONE, took);
            if !self.quiet {
                let (method, path, took_ms) = (&self.method, &self.path, took.as_millis());
                tracing::info!(%method, path, took_ms, "the client went away");
            }
        }
    }
}

/// Who asks.
///
/// # Errors
/// They may not come in.
async fn check(shared: &Shared, path: &str, headers: &HeaderMap) -> Result<Caller, Problem> {
    if OPEN.contains(&path) {
        return Ok(Caller::default());
    }
    if let Some(caller) = shared.keys.caller(headers).await? {
        return Ok(caller);
    }
    if shared.on_loopback {
        check_host(&shared.options.allowed_hosts, headers)?;
    }
    Ok(Caller::default())
}

fn check_host(allowed: &[String], headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = without_port(host);
    let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    let is_known = name.eq_ignore_ascii_case("localhost")
        || allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(name));
    if is_address || is_known {
        return Ok(());
    }
    let shown: String = name.chars().take(128).collect();
    Err(Problem::new(ProblemCode::HostNotAllowed, format!("this server does not go by the name `{shown}`"))
        .with_hint("call it by its address or `localhost`, or list the name in `AllowedHosts`"))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // Not within `[::1]`.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect::<HeaderMap>()
    }

    #[test]
    fn foreign_names_do_not_reach_a_loopback_door() {
        for good in ["localhost", "LOCALHOST:5000", "127.0.0.1:5000", "[::1]:5000", "[::1]", "10.0.0.1", "box:80"] {
            assert!(check_host(&["box".to_owned()], &headers(&[("host", good)])).is_ok(), "{good}");
        }
        for bad in ["evil.example", "evil.example:5000", "localhost.evil.example", "", "127.0.0.1.evil.example"] {
            assert_eq!(
                check_host(&["box".to_owned()], &headers(&[("host", bad)])).unwrap_err().code(),
                ProblemCode::HostNotAllowed,
                "{bad}"
            );
            assert!(check_host(&["*".to_owned()], &headers(&[("host", bad)])).is_ok(), "{bad}");
        }
    }
}
