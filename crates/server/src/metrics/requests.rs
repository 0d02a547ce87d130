//! Requests and their answers.

use std::time::Duration;

use axum::http::Method;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use super::histogram;
use crate::problem::ProblemCode;

/// What stands for a client that went away before its answer, as in nginx's logs.
pub(crate) const CLIENT_GONE: u16 = 499;
/// Seconds to an answer: what asks for nothing takes a fraction of a millisecond, a program minutes.
const DURATION: [f64; 13] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejection {
    code: String,
}

#[derive(Debug)]
pub(crate) struct Requests {
    answered: Family<Answered, Counter>,
    duration: Family<Route, Histogram, fn() -> Histogram>,
    rejected: Family<Rejection, Counter>,
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self {
            answered: Family::default(),
            duration: Family::new_with_constructor(|| histogram(&DURATION)),
            rejected: Family::default(),
        };
        registry.register("http_requests", "Requests that were answered", all.answered.clone());
        registry.register(
            "http_request_duration_seconds",
            "From the head of a request to the head of its answer",
            all.duration.clone(),
        );
        registry.register("rejected", "Requests that were answered with a problem", all.rejected.clone());
        all
    }

    /// A request to `route`, which is a pattern of ours and never a client's path, had its answer after `took`.
    pub(crate) fn answered(&self, route: &str, method: &Method, status: u16, took: Duration) {
        let answered = Answered { route: route.to_owned(), method: method_word(method), status };
        self.answered.get_or_create(&answered).inc();
        self.duration.get_or_create(&Route { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    pub(crate) fn rejected(&self, code: ProblemCode) {
        self.rejected.get_or_create(&Rejection { code: format!("{code:?}") }).inc();
    }
}

/// A client may invent methods.
fn method_word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
