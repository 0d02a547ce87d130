//! `GET /healthz` and `GET /readyz`.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{readiness::State, shared::SharedState};

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    /// `alive`; or `ready`, `starting`, `failing`, `stopping`.
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "It does", body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "alive", detail: None, hint: None })
}

/// Whether the Python environment is prepared and a sandbox works: a small program is run every few seconds.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "Programs can be run", body = Health),
        (status = 503, description = "Not now; `detail` says why", body = Health),
    )
)]
pub(crate) async fn readyz(shared: SharedState) -> Response {
    let health = |status, detail, hint| Json(Health { status, detail, hint });
    if shared.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, health("stopping", None, None)).into_response();
    }
    match shared.readiness.state().await {
        State::Ready => health("ready", None, None).into_response(),
        State::Starting => {
            let detail = Some("the Python environment is being prepared".to_owned());
            (StatusCode::SERVICE_UNAVAILABLE, health("starting", detail, None)).into_response()
        }
        State::Failing { detail, hint } => {
            (StatusCode::SERVICE_UNAVAILABLE, health("failing", Some(detail), hint)).into_response()
        }
    }
}
