//! `/api/sandbox/…`: some routes once more, under the platform's own paths.

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use utoipa::openapi::{HttpMethod, OpenApi as Document, PathItem, RefOr};

use crate::{execute, executions, shared::Shared};

/// A route of the platform.
struct Alias {
    method: HttpMethod,
    path: &'static str,
    /// The path of the route that it is.
    of: &'static str,
    /// What its operation is called, and what the other one is called.
    operation_id: (&'static str, &'static str),
    summary: &'static str,
}

const ALIASES: [Alias; 5] = [
    Alias {
        method: HttpMethod::Post,
        path: "/api/sandbox/execute",
        of: "/api/python/execute",
        operation_id: ("sandboxExecute", "execute"),
        summary: "Run a program and answer when it has ended: as `POST /api/python/execute`.",
    },
    Alias {
        method: HttpMethod::Post,
        path: "/api/sandbox/execute-async",
        of: "/api/python/executions",
        operation_id: ("sandboxStart", "startExecution"),
        summary: "Start a program and answer at once: as `POST /api/python/executions`.",
    },
    Alias {
        method: HttpMethod::Get,
        path: "/api/sandbox/status/{id}",
        of: "/api/python/executions/{id}",
        operation_id: ("sandboxStatus", "getExecution"),
        summary: "Where an execution is: as `GET /api/python/executions/{id}`.",
    },
    Alias {
        method: HttpMethod::Get,
        path: "/api/sandbox/logs/{id}",
        of: "/api/python/executions/{id}/logs",
        operation_id: ("sandboxLogs", "getLogs"),
        summary: "What an execution wrote so far: as `GET /api/python/executions/{id}/logs`.",
    },
    Alias {
        method: HttpMethod::Post,
        path: "/api/sandbox/cancel/{id}",
        of: "/api/python/executions/{id}/cancel",
        operation_id: ("sandboxCancel", "cancelExecution"),
        summary: "End an execution: as `POST /api/python/executions/{id}/cancel`.",
    },
];

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/sandbox/execute", post(execute::execute))
        .route("/api/sandbox/execute-async", post(executions::start))
        .route("/api/sandbox/status/{id}", get(executions::status))
        .route("/api/sandbox/logs/{id}", get(executions::logs))
        .route("/api/sandbox/cancel/{id}", post(executions::cancel))
}

/// Describes them in `document`, which has the routes that they are.
pub(crate) fn describe(document: &mut Document) {
    let described: Vec<_> =
        ALIASES.iter().filter_map(|alias| Some((alias.path, operation(document, alias)?))).collect();
    document.paths.paths.extend(described.into_iter().map(|(path, item)| (path.to_owned(), item)));
}

fn operation(document: &Document, alias: &Alias) -> Option<PathItem> {
    let item = document.paths.paths.get(alias.of)?;
    let original = if alias.method == HttpMethod::Get { &item.get } else { &item.post };
    let mut operation = original.clone()?;
    operation.operation_id = Some(alias.operation_id.0.to_owned());
    operation.tags = Some(vec!["platform".to_owned()]);
    operation.summary = Some(alias.summary.to_owned());
    operation.description = None;
    let links = operation.responses.responses.values_mut().filter_map(|response| match response {
        RefOr::T(response) => Some(response.links.values_mut()),
        RefOr::Ref(_) => None,
    });
    for link in links.flatten() {
        // From here on by the platform's paths, where it has one.
        if let RefOr::T(link) = link
            && let Some(other) = ALIASES.iter().find(|other| other.operation_id.1 == link.operation_id)
        {
            other.operation_id.0.clone_into(&mut link.operation_id);
        }
    }
    Some(PathItem::new(alias.method.clone(), operation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_described_as_the_operation_that_it_is() {
        let document = crate::document();
        for alias in ALIASES {
            let operations = [alias.path, alias.of].map(|path| {
                let item = &document.paths.paths[path];
                (if alias.method == HttpMethod::Get { &item.get } else { &item.post }).clone().unwrap()
            });
            let ids = operations.each_ref().map(|operation| operation.operation_id.as_deref().unwrap());
            assert_eq!(ids, [alias.operation_id.0, alias.operation_id.1]);
        }
    }
}
