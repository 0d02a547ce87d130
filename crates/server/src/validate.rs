//! `POST /api/python/validate`.

use aevatar_sandbox_contract::ValidationReport;
use axum::{Json, extract::Request};

use crate::{
    body,
    problem::{Problem, ProblemDetails},
    request::ValidateRequest,
    shared::SharedState,
};

/// Read a program without running it: syntax, imports, dangerous constructs.
///
/// 200 also for a program that would not be run; `isValid` tells.
#[utoipa::path(
    post,
    path = "/api/python/validate",
    tag = "python",
    request_body = ValidateRequest,
    responses(
        (status = 200, description = "What is known of the program", body = ValidationReport),
        (status = 400, description = "The request makes no sense", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The host is called by a name that it does not go by", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 408, description = "The request took too long to arrive", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 413, description = "The request or the program is too large", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared to be JSON", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 429, description = "The server is reading as much as it may", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 500, description = "The server failed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The server is stopping, or has no Python environment", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn validate(shared: SharedState, request: Request) -> Result<Json<ValidationReport>, Problem> {
    shared.takes_work()?;
    let request: ValidateRequest = body::read(&shared, request, &ValidateRequest::SHAPE).await?;
    Ok(Json(shared.service.validate(request.code.into_bytes(), request.environment).await?))
}
