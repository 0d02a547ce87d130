//! `Idempotency-Key`: a caller's own name for a request, so that it can be sent once more.

use axum::http::HeaderMap;
use utoipa::IntoParams;

use crate::problem::{Problem, ProblemCode};

/// Characters of a key.
const LONGEST: usize = 255;

/// The header, for the document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct IdempotencyHeader {
    /// The caller's own name for this request, of 1 to 255 visible characters: the same key and body are the same execution
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$")]
    idempotency_key: Option<String>,
}

/// The key of a request, if it has one.
///
/// # Errors
/// It is empty, too long, or has characters that are not visible ones.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let text = key.to_str().ok().map(str::trim);
    match text.filter(|text| {
        (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    }) {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(Problem::new(ProblemCode::InvalidRequest, "`Idempotency-Key` is no key")
            .with_field("Idempotency-Key")
            .with_hint(format!("send 1 to {LONGEST} visible ASCII characters, a UUID for instance"))),
    }
}
