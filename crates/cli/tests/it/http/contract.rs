//! The `OpenAPI` document, as a contract.

use std::sync::LazyLock;

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

use super::client::Answer;

/// The document as it is checked in.
pub(super) const TEXT: &str = include_str!("../../../../../openapi/aevatar-sandbox.json");

/// The document; answers may have no members that it does not know.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document: Value = serde_json::from_str(TEXT).unwrap();
    for schema in document["components"]["schemas"].as_object_mut().unwrap().values_mut() {
        if schema.get("properties").is_some() {
            schema["additionalProperties"] = false.into();
        }
    }
    document
});

/// A documented answer: to which method, for which path, with which status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Documented {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: u16,
}

/// Everything that is documented.
pub(super) fn documented() -> Vec<Documented> {
    let mut all = Vec::new();
    for (path, operations) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for status in operation["responses"].as_object().unwrap().keys() {
                let (method, path) = (method.to_uppercase(), path.clone());
                all.push(Documented { method, path, status: status.parse().unwrap() });
            }
        }
    }
    all
}

/// Fails unless `answer` is one that the document promises.
pub(super) fn check(method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap();
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
    if path == "/openapi.json" && answer.status == 200 {
        assert_eq!(answer.header("content-type"), Some("application/json"));
        return;
    }
    // What answers to GET answers to HEAD.
    let documented_as = if method == "HEAD" { "get" } else { &method.to_lowercase() };
    let operation = &DOCUMENT["paths"][template(path)][documented_as];
    if operation.is_null() {
        assert!([401, 403, 404, 405].contains(&answer.status), "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        return fits(&json!({ "$ref": "#/components/schemas/Problem" }), method, path, answer);
    }
    let response = &operation["responses"][answer.status.to_string()];
    assert!(!response.is_null(), "{method} {path}: the status {} is not documented: {answer:?}", answer.status);
    let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap();
    let content = &response["content"][kind];
    assert!(!content.is_null(), "{method} {path}: `{kind}` is not documented for {}", answer.status);
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let value = answer.header(&name.to_lowercase()).unwrap_or_else(|| panic!("no header {name}: {answer:?}"));
        let value = value.parse::<u64>().map_or_else(|_| value.into(), Value::from);
        assert!(validator(&header["schema"]).is_valid(&value), "{name}: {value}");
    }
    fits(&content["schema"], method, path, answer);
}

/// The path as it is documented, with its parameters in braces; itself where there is none.
pub(super) fn template(path: &str) -> &str {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let found = paths.keys().find(|known| *known == path);
    found.or_else(|| paths.keys().find(|known| is_like(known, path))).map_or(path, String::as_str)
}

fn is_like(template: &str, path: &str) -> bool {
    let mut given = path.split('/').peekable();
    for wanted in template.split('/') {
        match (wanted, given.next()) {
            // The path of a file has slashes of its own.
            ("{path}", Some(first)) => return !first.is_empty() || given.peek().is_some(),
            (wanted, Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
            (wanted, Some(given)) if wanted == given => {}
            _ => return false,
        }
    }
    given.peek().is_none()
}

fn fits(schema: &Value, method: &str, path: &str, answer: &Answer) {
    if method == "HEAD" {
        assert!(answer.body.is_empty());
        return;
    }
    let kind = answer.header("content-type").unwrap_or_default();
    let body = match kind {
        // Bytes, which no schema tells apart.
        "application/octet-stream" => return,
        kind if kind.contains("json") => answer.json(),
        _ => answer.text().into(),
    };
    let problems: Vec<String> =
        validator(schema).iter_errors(&body).map(|error| format!("{} at {}", error, error.instance_path())).collect();
    assert!(problems.is_empty(), "{method} {path}: {problems:#?}\n{body}");
}

fn validator(schema: &Value) -> Validator {
    let whole = json!({ "allOf": [schema], "components": DOCUMENT["components"] });
    jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).build(&whole).unwrap()
}

#[test]
fn a_path_is_found_by_its_template() {
    for (path, found) in [
        ("/healthz", "/healthz"),
        ("/api/python/executions", "/api/python/executions"),
        ("/api/python/executions/0-1", "/api/python/executions/{id}"),
        ("/api/python/executions/0-1/result", "/api/python/executions/{id}/result"),
        ("/api/python/executions/0-1/files/a", "/api/python/executions/{id}/files/{path}"),
        ("/api/python/executions/0-1/files/a/b.txt", "/api/python/executions/{id}/files/{path}"),
    ] {
        assert_eq!(template(path), found);
    }
    for unknown in ["/api/python/executions/", "/api/python/executions/0-1/files", "/api/python/executions/0-1/result/"]
    {
        assert_eq!(template(unknown), unknown);
    }
}

#[test]
fn the_contract_is_checked() {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    let good = json!({ "type": "t", "title": "t", "status": 400, "code": "InvalidRequest", "detail": "d" });
    assert!(validator(&schema).is_valid(&good));
    for (member, wrong) in
        [("code", "Nonsense".into()), ("status", "400".into()), ("detail", Value::Null), ("more", "x".into())]
    {
        let mut bad = good.clone();
        bad[member] = wrong;
        assert!(!validator(&schema).is_valid(&bad), "{bad}");
    }
}
