//! `GET /metrics`: what the server counts, for Prometheus.
//!
//! A label is one of a few words that are known beforehand, or a name that the operator gave: never what a request
//! says, so the number of series is bounded.

mod executions;
mod now;
mod requests;

use std::sync::{Mutex, PoisonError};

use aevatar_sandbox_python::PythonSandboxService;
use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        prometheus_text::{CONTENT_TYPE, encode},
    },
    metrics::{counter::Counter, histogram::Histogram, info::Info},
    registry::Registry,
};

use self::{executions::Executions, now::Now, requests::Requests};
pub(crate) use self::{executions::start_word, requests::CLIENT_GONE};
use crate::{
    problem::{Problem, ProblemCode},
    refusals::DoorRefusals,
    shared::SharedState,
};

/// What all names begin with.
const PREFIX: &str = "aevatar_sandbox";

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Locked while it is written down: what is looked at then is of one moment.
    registry: Mutex<Registry>,
    now: Now,
    pub(crate) requests: Requests,
    executions: Executions,
    store_errors: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let store_errors = Counter::default();
        registry.register("build", "The server's version", Info::new(Build { version: env!("CARGO_PKG_VERSION") }));
        registry.register(
            "store_errors",
            "Times that an execution could not be recorded or looked up",
            store_errors.clone(),
        );
        Self {
            now: Now::register(&mut registry),
            requests: Requests::register(&mut registry),
            executions: Executions::register(&mut registry),
            store_errors,
            registry: Mutex::new(registry),
        }
    }
}

impl Metrics {
    pub(crate) fn store_failed(&self) {
        self.store_errors.inc();
    }

    fn text(&self, service: &PythonSandboxService) -> Result<String, std::fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        self.now.look(service);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// Counts in buckets up to these bounds.
fn histogram(bounds: &[f64]) -> Histogram {
    Histogram::new(bounds.iter().copied())
}

/// What the server counts, in Prometheus' text format.
///
/// Names, labels and units are in the manual for operators. A key is needed where other routes need one.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses((status = 200, description = "All metrics", body = String, content_type = "text/plain"), DoorRefusals)
)]
pub(crate) async fn metrics(shared: SharedState) -> Result<Response, Problem> {
    let text = shared.metrics.text(&shared.service).map_err(|_| {
        Problem::new(ProblemCode::SandboxFailure, "the metrics could not be written down")
            .with_hint("this is a defect: please report it")
    })?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DASHBOARD: &str = include_str!("../../../../docs/grafana/aevatar-sandbox.json");
    const MANUAL: &str = include_str!("../../../../docs/operations.md");

    /// Name and kind of each metric.
    fn exported() -> Vec<(String, String)> {
        let metrics = Metrics::default();
        metrics.executions.touch();
        metrics.now.touch();
        metrics.requests.answered("/", &axum::http::Method::GET, 200, std::time::Duration::ZERO);
        metrics.requests.rejected(ProblemCode::Busy);
        let registry = metrics.registry.lock().unwrap();
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let types = types.map(|line| line.split_once(' ').unwrap());
        types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
    }

    /// Names of what is exported, as a query has them.
    fn series() -> BTreeSet<String> {
        let of = |(name, kind): (String, String)| match kind.as_str() {
            "histogram" => ["bucket", "count", "sum"].map(|part| format!("{name}_{part}")).to_vec(),
            _ => vec![name],
        };
        exported().into_iter().flat_map(of).collect()
    }

    /// Words of a text that begin as our names do.
    fn named(text: &str) -> BTreeSet<String> {
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        words.filter(|word| word.starts_with("aevatar_sandbox_")).map(str::to_owned).collect()
    }

    #[test]
    fn the_dashboard_asks_for_what_there_is() {
        let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let queries = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        let queries: Vec<&str> = queries.map(|target| target["expr"].as_str().unwrap()).collect();
        assert!(queries.len() > 10);
        let asked: BTreeSet<String> = queries.iter().flat_map(|query| named(query)).collect();
        let missing: Vec<_> = asked.difference(&series()).cloned().collect();
        assert!(missing.is_empty(), "{missing:?}");
        for query in queries {
            assert!(!named(query).is_empty(), "{query}");
        }
    }

    #[test]
    fn the_manual_names_every_metric() {
        let names: BTreeSet<String> = exported().into_iter().map(|(name, _)| name).collect();
        assert!(names.contains("aevatar_sandbox_build_info") && names.contains("aevatar_sandbox_executions_total"));
        assert_eq!(named(MANUAL), names);
    }
}
