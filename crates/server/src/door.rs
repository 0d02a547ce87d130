//! Who may come in, before anything of a request is looked at.

use std::{net::IpAddr, sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use tracing::field::{debug, display};

use crate::{
    execute::Outcome,
    options::ApiKey,
    problem::{Problem, ProblemCode},
    shared::Shared,
};

/// Paths that an orchestrator asks without a key.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Lets a request pass, or answers it.
pub(crate) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (method, path, asked) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    // Health checks come every few seconds and say nothing.
    let mut entry = (!OPEN.contains(&path.as_str())).then(|| Entry { method, path: path.clone(), asked, open: true });
    let mut response = match check(&shared, &path, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(entry) = &mut entry {
        entry.log(&response);
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The one line of a request in the log.
struct Entry {
    method: Method,
    path: String,
    asked: Instant,
    open: bool,
}

impl Entry {
    fn log(&mut self, response: &Response) {
        self.open = false;
        let Self { method, path, .. } = self;
        let status = response.status().as_u16();
        let outcome = response.extensions().get::<Outcome>();
        let (id, reason) = (outcome.map(|outcome| display(outcome.id)), outcome.map(|outcome| debug(outcome.reason)));
        let took_ms = self.asked.elapsed().as_millis();
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
            let (method, path, took_ms) = (&self.method, &self.path, self.asked.elapsed().as_millis());
            tracing::info!(%method, path, took_ms, "the client went away");
        }
    }
}

fn check(shared: &Shared, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let options = &shared.options;
    if OPEN.contains(&path) {
        return Ok(());
    }
    if !options.api_keys.is_empty() {
        return check_key(&options.api_keys, headers);
    }
    if shared.on_loopback { check_host(&options.allowed_hosts, headers) } else { Ok(()) }
}

fn check_key(keys: &[ApiKey], headers: &HeaderMap) -> Result<(), Problem> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let shown = bearer.or_else(|| headers.get("x-api-key")?.to_str().ok());
    // Digests are compared, so that the time it takes says nothing of the key.
    let valid = shown.is_some_and(|shown| keys.contains(&ApiKey::new(shown)));
    if valid {
        return Ok(());
    }
    let detail = if shown.is_some() { "the key that was shown is not valid" } else { "no key was shown" };
    Err(Problem::new(ProblemCode::Unauthenticated, detail)
        .with_hint("send a key as `Authorization: Bearer KEY` or `X-Api-Key: KEY`"))
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
    fn a_key_is_shown_in_one_of_two_ways() {
        let keys = [ApiKey::new("first-key-of-many"), ApiKey::new("second-key-of-many")];
        for good in [
            ("authorization", "Bearer second-key-of-many"),
            ("authorization", "bearer first-key-of-many"),
            ("x-api-key", "first-key-of-many"),
        ] {
            assert!(check_key(&keys, &headers(&[good])).is_ok(), "{good:?}");
        }
        for bad in [
            ("authorization", "Bearer first-key-of-man"),
            ("authorization", "Basic first-key-of-many"),
            ("authorization", "first-key-of-many"),
            ("x-api-key", ""),
            ("host", "localhost"),
        ] {
            let problem = check_key(&keys, &headers(&[bad])).unwrap_err();
            assert_eq!(problem.code(), ProblemCode::Unauthenticated, "{bad:?}");
            assert!(!problem.detail().contains("first"), "the key is not repeated");
        }
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
