//! The parts of a request's URL, with errors that name them.

use axum::{
    extract::{FromRequestParts, Query},
    http::{Uri, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::problem::{Problem, ProblemCode};

/// Reads the parameters of `uri`.
///
/// # Errors
/// One is unknown, or no such value.
pub(crate) fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    Query::try_from_uri(uri).map(|Query(parameters)| parameters).map_err(|rejection| {
        let words = rejection.body_text();
        let words = words.strip_prefix("Failed to deserialize query string: ").unwrap_or(&words);
        let shown: String = words.chars().take(256).collect();
        Problem::new(ProblemCode::InvalidRequest, format!("a parameter of the URL makes no sense: {shown}"))
            .with_hint("see `/openapi.json` for the parameters, their types and their ranges")
    })
}

/// Parts of the path, in the order of its braces.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(parts)) => Ok(Self(parts)),
            Err(_) => Err(Problem::new(ProblemCode::InvalidRequest, "the path is no UTF-8")
                .with_hint("encode the bytes of UTF-8 with `%`, or use what an answer gave you as it is")),
        }
    }
}
