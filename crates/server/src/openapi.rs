//! The routes, and the document that describes them.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{Uri, header},
    middleware,
    routing::get,
};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    capabilities, docs, door, execute, executions, health, metrics, platform,
    problem::{Problem, ProblemCode},
    shared::Shared,
    validate,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Aevatar Sandbox",
        description = "Runs untrusted Python in a kernel-enforced sandbox.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "python", description = "Programs"),
        (name = "executions", description = "Programs that are started, followed and cancelled"),
        (name = "platform", description = "The same under the platform's own paths"),
        (name = "health", description = "For whoever watches the server"),
    ),
    // Its path takes the rest of the URL, which the document cannot say.
    paths(executions::file),
    modifiers(&Keys),
    security((), ("bearer" = []), ("apiKey" = [])),
)]
struct Api;

/// The two ways to show a key.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "bearer",
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
        );
        components.add_security_scheme("apiKey", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Api-Key"))));
    }
}

fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(execute::execute))
        .routes(routes!(executions::start, executions::list))
        .routes(routes!(executions::status, executions::delete))
        .routes(routes!(executions::result))
        .routes(routes!(executions::logs))
        .routes(routes!(executions::follow))
        .routes(routes!(executions::cancel))
        .routes(routes!(validate::validate))
        .routes(routes!(capabilities::capabilities))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics))
}

/// The routes that the document describes, and the document.
fn described() -> (Router<Arc<Shared>>, Document) {
    let (router, mut document) = routes().split_for_parts();
    platform::describe(&mut document);
    (router.merge(platform::routes()), document)
}

/// The `OpenAPI` document of the routes.
pub fn document() -> Document {
    described().1
}

/// Everything that answers requests.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let (router, document) = described();
    // Plain data always serialises.
    let document: Arc<str> = document.to_json().unwrap_or_default().into();
    let answer = move || std::future::ready(([(header::CONTENT_TYPE, "application/json")], document.to_string()));
    router
        .route("/openapi.json", get(answer))
        .route("/api/python/executions/{id}/files/{*path}", get(executions::file))
        .merge(docs::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(|_| {
            axum::response::IntoResponse::into_response(
                Problem::new(ProblemCode::SandboxFailure, "the server failed in the middle of this request")
                    .with_hint("this is a defect: please report it with the server's log"),
            )
        }))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), door::guard))
        .with_state(shared)
}

async fn not_found(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(128).collect();
    Problem::new(ProblemCode::NotFound, format!("there is nothing at `{path}`"))
        .with_hint("see `/docs` or `/openapi.json` for what there is; programs are run by `POST /api/python/execute`")
}

async fn method_not_allowed(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(128).collect();
    Problem::new(ProblemCode::MethodNotAllowed, format!("`{path}` does not answer to {}", request.method()))
        .with_hint("see `/openapi.json`, and the answer's `Allow` header")
}
