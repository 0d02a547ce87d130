//! From the bytes of a body to a typed request, with errors that name the field.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, error::Category};

use crate::problem::{Problem, ProblemCode};

/// The fields of a JSON object: their names, and those objects among them that have fixed fields of their own.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) fields: &'static [(&'static str, Option<&'static Self>)],
}

/// How unlike a known name an unknown one may be for it to be taken for a misspelling.
const SIMILAR: f64 = 0.6;
/// Characters of a stranger's field name that are shown.
const SHOWN: usize = 64;

/// Reads `bytes` as a `T` with the fields of `shape`.
///
/// # Errors
/// It is no JSON, or not that.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], shape: &Shape) -> Result<T, Problem> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let Value::Object(object) = value else {
        return Err(Problem::new(ProblemCode::InvalidRequest, format!("the body is {}, not an object", kind(&value)))
            .with_hint("send an object, as in {\"code\": \"print(1)\"}"));
    };
    let object = normalise(object, shape, "")?;
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let path = error.path().to_string();
        let problem = Problem::new(ProblemCode::InvalidRequest, wrong(&path, error.inner()))
            .with_hint("see `/openapi.json` for the fields, their types and their ranges");
        if path == "." { problem } else { problem.with_field(path) }
    })
}

fn malformed(error: &serde_json::Error) -> Problem {
    let problem = Problem::new(ProblemCode::MalformedJson, format!("the body is not valid JSON: {error}"));
    match error.classify() {
        Category::Eof => problem.with_hint("the body ends too early: is it complete?"),
        _ if error.to_string().starts_with("recursion limit") => {
            problem.with_hint("send at most 127 levels of arrays and objects")
        }
        _ => problem.with_hint("quotes and line breaks inside a JSON string are written \\\" and \\n"),
    }
}

fn wrong(path: &str, error: &serde_json::Error) -> String {
    if path == "." { error.to_string() } else { format!("`{path}`: {error}") }
}

/// Brings the names of fields to camelCase (`Code` is `code`), and refuses unknown ones.
fn normalise(object: Map<String, Value>, shape: &Shape, path: &str) -> Result<Map<String, Value>, Problem> {
    let mut known = Map::new();
    for (name, value) in object {
        let Some((field, inner)) = shape.fields.iter().find(|(field, _)| is_cased(&name, field)) else {
            return Err(unknown(&name, shape, path));
        };
        let value = match (value, inner) {
            (Value::Object(object), Some(inner)) => {
                Value::Object(normalise(object, inner, &format!("{path}{field}."))?)
            }
            // Serde would take its values for those of the fields, in their order.
            (value @ Value::Array(_), Some(_)) => {
                let detail = format!("`{path}{field}` is {}, not an object", kind(&value));
                return Err(Problem::new(ProblemCode::InvalidRequest, detail)
                    .with_field(format!("{path}{field}"))
                    .with_hint("see `/openapi.json` for its fields"));
            }
            (value, _) => value,
        };
        if known.insert((*field).to_owned(), value).is_some() {
            return Err(Problem::new(ProblemCode::InvalidRequest, format!("`{path}{field}` is given twice"))
                .with_field(format!("{path}{field}"))
                .with_hint("a field may be written `camelCase` or `PascalCase`, once"));
        }
    }
    Ok(known)
}

/// Whether `name` is `field`, in camel case or in Pascal case.
fn is_cased(name: &str, field: &str) -> bool {
    let mut lowered = name.to_owned();
    if let Some(first) = lowered.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    lowered == field
}

fn unknown(name: &str, shape: &Shape, path: &str) -> Problem {
    let nearest = shape
        .fields
        .iter()
        .map(|(field, _)| (strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &field.to_lowercase()), field))
        .filter(|(likeness, _)| *likeness >= SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let shown: String = name.chars().take(SHOWN).collect();
    let problem = Problem::new(ProblemCode::InvalidRequest, format!("there is no field `{path}{shown}`"))
        .with_field(format!("{path}{shown}"));
    if let Some((_, field)) = nearest {
        return problem.with_hint(format!("did you mean `{path}{field}`?"));
    }
    let all: Vec<String> = shape.fields.iter().map(|(field, _)| format!("`{path}{field}`")).collect();
    problem.with_hint(format!("the fields are {}", all.join(", ")))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        code: String,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Inner {
        cpu_limit: Option<u8>,
    }

    const SHAPE: Shape = Shape { fields: &[("code", None), ("inner", Some(&Shape { fields: &[("cpuLimit", None)] }))] };

    fn problem(json: &str) -> (ProblemCode, String, Option<String>) {
        let problem = read::<Body>(json.as_bytes(), &SHAPE).unwrap_err();
        (problem.code(), problem.detail().to_owned(), problem.hint().map(str::to_owned))
    }

    #[test]
    fn both_casings_are_read() {
        let expected = Body { code: "x".into(), inner: Some(Inner { cpu_limit: Some(1) }) };
        for json in [
            r#"{"code": "x", "inner": {"cpuLimit": 1}}"#,
            r#"{"Code": "x", "Inner": {"CpuLimit": 1}}"#,
            r#"{"Code": "x", "inner": {"CpuLimit": 1}}"#,
        ] {
            assert_eq!(read::<Body>(json.as_bytes(), &SHAPE).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest() {
        let (code, detail, hint) = problem(r#"{"cod": "x"}"#);
        assert_eq!((code, detail.as_str()), (ProblemCode::InvalidRequest, "there is no field `cod`"));
        assert_eq!(hint.unwrap(), "did you mean `code`?");
        let (_, detail, hint) = problem(r#"{"code": "x", "inner": {"cpu_limit": 1}}"#);
        assert_eq!(detail, "there is no field `inner.cpu_limit`");
        assert_eq!(hint.unwrap(), "did you mean `inner.cpuLimit`?");
        assert_eq!(problem(r#"{"frobnicate": 1}"#).2.unwrap(), "the fields are `code`, `inner`");
        assert_eq!(problem(r#"{"": 1}"#).1, "there is no field ``");
        assert_eq!(problem(r#"{"éde": 1}"#).1, "there is no field `éde`");
        assert_eq!(problem(r#"{"éode": 1}"#).1, "there is no field `éode`");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        assert_eq!(problem(r#"{"code": "x", "Code": "y"}"#).1, "`code` is given twice");
        assert_eq!(problem(r#"{"code": 5}"#).1, "`code`: invalid type: integer `5`, expected a string");
        assert_eq!(
            problem(r#"{"code": "", "inner": {"cpuLimit": "x"}}"#).1,
            "`inner.cpuLimit`: invalid type: string \"x\", expected u8"
        );
        assert_eq!(problem(r#"{"code": "x", "inner": [1]}"#).1, "`inner` is an array, not an object");
        assert_eq!(problem("{}").1, "missing field `code`");
        assert_eq!(problem("[]").1, "the body is an array, not an object");
        assert_eq!(problem("null").1, "the body is null, not an object");
    }

    #[test]
    fn no_json_is_malformed() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for json in ["", "{", "{\"code\": \"x\"", "{'code': 'x'}", "\u{feff}{}", "{\"code\": \"\\ud800\"}", &deep] {
            assert_eq!(problem(json).0, ProblemCode::MalformedJson, "{}", json.chars().take(20).collect::<String>());
        }
        assert!(read::<Body>(b"{\"code\": \"\xFF\"}", &SHAPE).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read::<Body>(&bytes, &SHAPE).is_ok();
        }

        #[test]
        fn no_name_panics(name in ".{0,12}") {
            let body = serde_json::json!({ name: "x" }).to_string();
            let _ = read::<Body>(body.as_bytes(), &SHAPE).is_ok();
        }
    }
}
