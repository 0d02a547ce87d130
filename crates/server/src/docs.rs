//! `/docs`: a page for people, made from `/openapi.json` in their browser. It loads nothing from anywhere else.

use axum::{
    Router,
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    routing::get,
};

pub(crate) const PAGE: &str = "/docs";
pub(crate) const STYLE: &str = "/docs/style.css";
pub(crate) const SCRIPT: &str = "/docs/script.js";

/// The page may run its own script, and ask this server alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and its two files.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |kind: &'static str, text: &'static str| {
        get(move || std::future::ready(([(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, POLICY)], text)))
    };
    Router::new()
        .route(PAGE, file("text/html; charset=utf-8", include_str!("../assets/docs.html")))
        .route(STYLE, file("text/css; charset=utf-8", include_str!("../assets/style.css")))
        .route(SCRIPT, file("text/javascript; charset=utf-8", include_str!("../assets/script.js")))
}
