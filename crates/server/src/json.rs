//! From the bytes of a body to a typed request, with errors that name the field.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

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
/// What is no field of `shape` is never built: a small text can be a large tree.
///
/// # Errors
/// It is no JSON, or not that.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], shape: &Shape) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::new(ProblemCode::MalformedJson, format!("the body is not UTF-8: {error}"))
            .with_hint("send JSON in UTF-8, without a byte order mark")
    })?;
    let object: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    if !object.get().starts_with('{') {
        let kind = kind(object.get());
        return Err(Problem::new(ProblemCode::InvalidRequest, format!("the body is {kind}, not an object"))
            .with_hint("send an object, as in {\"code\": \"print(1)\"}"));
    }
    let object = normalise(object, shape, "")?;
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(&object)).map_err(|error| {
        if error.inner().classify() != Category::Data {
            // Half a character, or a number that is none: that is not seen when a value is passed over.
            return malformed(error.inner());
        }
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
        _ => problem.with_hint("quotes and line breaks inside a JSON string are written \\\" and \\n"),
    }
}

/// What is wrong, without a place in a text that the client has not sent.
fn wrong(path: &str, error: &serde_json::Error) -> String {
    let words = error.to_string();
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    if path == "." { words.to_owned() } else { format!("`{path}`: {words}") }
}

/// Brings the names of fields to camelCase (`Code` is `code`), and refuses unknown ones and those that are given twice.
fn normalise(object: &RawValue, shape: &Shape, path: &str) -> Result<String, Problem> {
    let mut fields = serde_json::Deserializer::from_str(object.get());
    let fields = Fields { shape, path }.deserialize(&mut fields);
    match fields {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(problem)) => Err(problem),
        // It was read once already, so this does not happen.
        Err(error) => Err(malformed(&error)),
    }
}

/// Reads an object field by field.
struct Fields<'a> {
    shape: &'a Shape,
    path: &'a str,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = Result<String, Problem>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Result<String, Problem>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let Self { shape, path } = self;
        let mut text = String::from("{");
        let mut seen = Vec::new();
        let mut problem = None;
        while let Some(name) = object.next_key::<Cow<'de, str>>()? {
            let known = shape.fields.iter().find(|(field, _)| is_cased(&name, field));
            // The rest is still looked through, as a reader must, and nothing of it is kept.
            let (Some((field, inner)), None) = (known, &problem) else {
                object.next_value::<IgnoredAny>()?;
                if known.is_none() {
                    problem.get_or_insert_with(|| unknown(&name, shape, path));
                }
                continue;
            };
            let value = object.next_value::<&RawValue>()?;
            if seen.contains(field) {
                problem = Some(twice(path, field));
                continue;
            }
            seen.push(*field);
            if seen.len() > 1 {
                text.push(',');
            }
            text.extend(["\"", field, "\":"]);
            match inner {
                Some(inner) if value.get().starts_with('{') => {
                    match normalise(value, inner, &format!("{path}{field}.")) {
                        Ok(value) => text.push_str(&value),
                        Err(found) => problem = Some(found),
                    }
                }
                Some(_) if value.get() != "null" => problem = Some(no_object(path, field, value)),
                _ => text.push_str(value.get()),
            }
        }
        text.push('}');
        Ok(problem.map_or(Ok(text), Err))
    }
}

fn twice(path: &str, field: &str) -> Problem {
    Problem::new(ProblemCode::InvalidRequest, format!("`{path}{field}` is given twice"))
        .with_field(format!("{path}{field}"))
        .with_hint("give it once; a field may be written in camel case or in Pascal case")
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

fn no_object(path: &str, field: &str, value: &RawValue) -> Problem {
    // Serde would take the values of an array for those of the fields, in their order.
    let detail = format!("`{path}{field}` is {}, not an object", kind(value.get()));
    Problem::new(ProblemCode::InvalidRequest, detail)
        .with_field(format!("{path}{field}"))
        .with_hint("see `/openapi.json` for its fields")
}

fn kind(json: &str) -> &'static str {
    match json.bytes().next() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        _ => "a number",
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
        for json in ["", "{", "{\"code\": \"x\"", "{'code': 'x'}", "\u{feff}{}", "{\"code\": \"\\ud800\"}", "{} {}"] {
            assert_eq!(problem(json).0, ProblemCode::MalformedJson, "{}", json.chars().take(20).collect::<String>());
        }
        assert!(read::<Body>(b"{\"code\": \"\xFF\"}", &SHAPE).is_err());
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(problem(&deep).1, "the body is an array, not an object");
        assert_eq!(problem(&format!("{{\"code\": {deep}}}")).1, "`code`: invalid type: sequence, expected a string");
        assert_eq!(problem(&format!("{{\"x\": {deep}}}")).1, "there is no field `x`");
        assert_eq!(problem(&format!("{{\"code\": \"\", \"inner\": {deep}}}")).1, "`inner` is an array, not an object");
    }

    #[test]
    fn the_same_name_twice_is_told() {
        assert_eq!(problem(r#"{"code": "x", "code": "y"}"#).1, "`code` is given twice");
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
