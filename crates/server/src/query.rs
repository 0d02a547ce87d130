//! The parameters of a request's URL, with errors that name them.

use axum::{extract::Query, http::Uri};
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
