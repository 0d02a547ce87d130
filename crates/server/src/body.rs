//! Reads bodies: bounded in size, in time, and all together in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, header},
};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use crate::{
    form,
    json::{self, Shape},
    problem::{Problem, ProblemCode},
    request::ExecuteRequest,
    shared::Shared,
};

/// How many bodies of the largest size all clients together may have in memory.
const LARGEST_BODIES: usize = 32;

/// Bytes that the bodies of all requests may still take.
#[derive(Debug)]
pub(crate) struct BodyBudget(Arc<AtomicUsize>);

/// Bytes of a body that count until this is dropped.
#[derive(Debug)]
struct Share {
    left: Arc<AtomicUsize>,
    taken: usize,
}

impl BodyBudget {
    pub(crate) fn new(largest: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(largest.saturating_mul(LARGEST_BODIES))))
    }

    fn share(&self) -> Share {
        Share { left: Arc::clone(&self.0), taken: 0 }
    }
}

impl Share {
    /// Takes `bytes` more, if there are so many.
    fn take(&mut self, bytes: usize) -> bool {
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok();
        if taken {
            self.taken += bytes;
        }
        taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.left.fetch_add(self.taken, Ordering::Relaxed);
    }
}

/// Reads the body of `request` as a `T` with the fields of `shape`.
///
/// # Errors
/// It is not JSON, not a `T`, too large, or too slow; or all bodies together are too large.
pub(crate) async fn read<T: DeserializeOwned>(shared: &Shared, request: Request, shape: &Shape) -> Result<T, Problem> {
    let (head, body) = request.into_parts();
    check_type(&head.headers)?;
    let mut reserved = shared.bodies.share();
    let bytes = take(shared, &head.headers, body, &mut reserved).await?;
    json::read(&bytes, shape)
}

/// Reads a program: JSON, or a form.
///
/// # Errors
/// As of [`read`]; or the form makes no sense.
pub(crate) async fn read_program(shared: &Shared, request: Request) -> Result<ExecuteRequest, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // A form is what a web page may have a browser send to anybody without asking, as JSON is not; and the browser says
    // so. A page must not run programs here.
    let from_page = request.headers().contains_key(header::ORIGIN);
    let (Ok(boundary), false) = (multer::parse_boundary(kind), from_page) else {
        return read(shared, request, &ExecuteRequest::SHAPE).await;
    };
    let (head, body) = request.into_parts();
    let mut reserved = shared.bodies.share();
    let bytes = take(shared, &head.headers, body, &mut reserved).await?;
    form::read(bytes, boundary).await
}

/// All bytes of a body.
async fn take(shared: &Shared, headers: &HeaderMap, body: Body, reserved: &mut Share) -> Result<Vec<u8>, Problem> {
    let largest = shared.options.max_request_bytes;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > largest as u64) {
        return Err(too_large(largest));
    }
    let patience = shared.options.body_timeout;
    tokio::time::timeout(patience, collect(body, largest, reserved)).await.map_err(|_| too_slow(patience))?
}

async fn collect(mut body: Body, largest: usize, share: &mut Share) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(ProblemCode::MalformedJson, format!("the body could not be read: {error}"))
                .with_hint("the connection was closed in the middle, or the body is not encoded as its headers say")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > largest {
            return Err(too_large(largest));
        }
        if !share.take(data.len()) {
            return Err(Problem::new(ProblemCode::Busy, "the server is reading as much as it may")
                .with_hint("ask again in a moment")
                .with_retry_after(Duration::from_secs(1)));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// A web page can have its visitor's browser send text or a form to any address, but not JSON: for that, the browser
/// asks this server first, which does not agree.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
        return Ok(());
    }
    let detail = if kind.is_empty() {
        "the body has no content type".to_owned()
    } else {
        format!("the body has the content type `{}`", kind.chars().take(64).collect::<String>())
    };
    Err(Problem::new(ProblemCode::UnsupportedMediaType, detail)
        .with_hint("send JSON with the header `Content-Type: application/json`"))
}

fn too_large(largest: usize) -> Problem {
    Problem::new(ProblemCode::RequestTooLarge, format!("the body is larger than {largest} bytes"))
        .with_hint("send less, or raise `MaxRequestBytes`")
}

fn too_slow(patience: Duration) -> Problem {
    Problem::new(ProblemCode::RequestTimeout, format!("the body did not arrive within {} s", patience.as_secs_f64()))
        .with_hint("send it faster, or raise `BodyTimeout`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_given_back() {
        let budget = BodyBudget::new(1);
        let mut first = budget.share();
        assert!(first.take(LARGEST_BODIES));
        let mut second = budget.share();
        assert!(!second.take(1));
        drop(first);
        assert!(second.take(1));
    }
}
