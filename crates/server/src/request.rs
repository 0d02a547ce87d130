//! What clients send.

use std::{collections::BTreeMap, fmt, time::Duration};

use aevatar_sandbox_contract::{InputFile, IsolationOptions, OutputFiles, SandboxExecutionRequest, SandboxResources};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use utoipa::ToSchema;

use crate::{
    files::{RequestFile, RequestFiles},
    json::Shape,
    problem::{Problem, ProblemCode},
};

/// One program to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ExecuteRequest {
    /// Python source.
    #[schema(example = "print(\"Hello, World!\")", pattern = r"^[^\x00]*$")]
    code: String,
    /// `python`, the only one; it may be left out.
    #[schema(example = "python")]
    language: Option<String>,
    /// Wall-clock limit in seconds, from the start of the program.
    #[schema(exclusive_minimum = 0.0, example = 30)]
    timeout: Option<f64>,
    /// Other limits; what is left out takes the server's default.
    resources: Option<SandboxResources>,
    /// What the program reads from stdin; end of file after it.
    stdin: Option<String>,
    /// `sys.argv[1:]`.
    #[schema(value_type = Option<Vec<String>>)]
    args: Option<Arguments>,
    /// Environment variables beside the sandbox's own few.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    env: Option<Variables>,
    /// Name of the Python environment; the default one when left out.
    environment: Option<String>,
    /// Of the isolation, what a request may choose.
    isolation: Option<IsolationOptions>,
    /// Files that are in `/work` before the program starts; at most 100.
    #[schema(value_type = Option<Vec<RequestFile>>)]
    files: Option<RequestFiles>,
    /// What is done with the files that the program leaves there; they are listed when this is left out.
    output_files: Option<OutputFiles>,
    /// Files of a form, which are not in its JSON.
    #[serde(skip)]
    #[schema(ignore)]
    pub(crate) form_files: Vec<InputFile>,
}

/// One program to read without running it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ValidateRequest {
    /// Python source.
    #[schema(example = "import numpy")]
    pub(crate) code: String,
    /// Name of the Python environment; the default one when left out.
    pub(crate) environment: Option<String>,
}

/// Entries of `args` and of `env`: more could not be handed to a program. They are counted while they are read, because
/// a small text can have a great many.
const MAX_ENTRIES: usize = 4096;

#[derive(Debug, Default)]
struct Arguments(Vec<String>);

#[derive(Debug, Default)]
struct Variables(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Entries).map(Self)
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs).map(Self)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list of at most {MAX_ENTRIES} strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            if entries.len() == MAX_ENTRIES {
                return Err(A::Error::invalid_length(MAX_ENTRIES + 1, &self));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object of at most {MAX_ENTRIES} strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut pairs = BTreeMap::new();
        while let Some((name, value)) = object.next_entry()? {
            if pairs.len() == MAX_ENTRIES {
                return Err(A::Error::invalid_length(MAX_ENTRIES + 1, &self));
            }
            pairs.insert(name, value);
        }
        Ok(pairs)
    }
}

const RESOURCES: Shape = Shape {
    fields: &[
        ("cpuLimit", None),
        ("memoryLimit", None),
        ("diskLimit", None),
        ("processLimit", None),
        ("cpuTime", None),
    ],
};

const ISOLATION: Shape = Shape { fields: &[("zygote", None)] };

impl ExecuteRequest {
    pub(crate) const SHAPE: Shape = Shape {
        fields: &[
            ("code", None),
            ("language", None),
            ("timeout", None),
            ("resources", Some(&RESOURCES)),
            ("stdin", None),
            ("args", None),
            ("env", None),
            ("environment", None),
            ("isolation", Some(&ISOLATION)),
            ("files", None),
            ("outputFiles", None),
        ],
    };

    /// The same in the service's words.
    ///
    /// # Errors
    /// The timeout is no time, or the language is not Python.
    pub(crate) fn into_request(self) -> Result<SandboxExecutionRequest, Problem> {
        if let Some(language) = self.language.filter(|language| !language.eq_ignore_ascii_case("python")) {
            let shown: String = language.chars().take(64).collect();
            return Err(Problem::new(ProblemCode::InvalidRequest, format!("there is no language `{shown}` here"))
                .with_field("language")
                .with_hint("the only one is `python`"));
        }
        let timeout = self.timeout.map(|seconds| {
            Duration::try_from_secs_f64(seconds).map_err(|_| {
                Problem::new(ProblemCode::InvalidRequest, format!("a `timeout` of {seconds} is no time"))
                    .with_field("timeout")
                    .with_hint("give a number of seconds above 0, as in 30 or 0.5")
            })
        });
        Ok(SandboxExecutionRequest {
            code: self.code.into_bytes(),
            args: self.args.unwrap_or_default().0,
            stdin: self.stdin.unwrap_or_default().into_bytes(),
            env: self.env.unwrap_or_default().0,
            timeout: timeout.transpose()?,
            resources: self.resources.unwrap_or_default(),
            environment: self.environment,
            isolation: self.isolation.unwrap_or_default(),
            files: self.files.unwrap_or_default().0.into_iter().chain(self.form_files).collect(),
            output_files: self.output_files.unwrap_or_default(),
        })
    }
}

impl ValidateRequest {
    pub(crate) const SHAPE: Shape = Shape { fields: &[("code", None), ("environment", None)] };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aevatar_sandbox_contract::ZygoteMode;
    use utoipa::PartialSchema;

    use super::*;
    use crate::json;

    /// The properties of a schema, as they appear in the document.
    fn properties<T: PartialSchema>() -> BTreeSet<String> {
        let schema = serde_json::to_value(T::schema()).unwrap();
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    }

    fn names(shape: &Shape) -> BTreeSet<String> {
        shape.fields.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    #[test]
    fn the_names_that_are_read_are_the_names_in_the_document() {
        assert_eq!(names(&ExecuteRequest::SHAPE), properties::<ExecuteRequest>());
        assert_eq!(names(&ValidateRequest::SHAPE), properties::<ValidateRequest>());
        assert_eq!(names(&RESOURCES), properties::<SandboxResources>());
        assert_eq!(names(&ISOLATION), properties::<IsolationOptions>());
    }

    fn read(isolation: &str) -> Result<IsolationOptions, Problem> {
        let body = format!(r#"{{"code": "print(1)", "isolation": {isolation}}}"#);
        let request: ExecuteRequest = json::read(body.as_bytes(), &ExecuteRequest::SHAPE)?;
        Ok(request.into_request()?.isolation)
    }

    #[test]
    fn a_request_may_choose_how_its_interpreter_starts() {
        for (isolation, zygote) in [
            ("null", None),
            ("{}", None),
            (r#"{"zygote": null}"#, None),
            (r#"{"zygote": "on"}"#, Some(ZygoteMode::On)),
            (r#"{"zygote": "off"}"#, Some(ZygoteMode::Off)),
            (r#"{"Zygote": "off"}"#, Some(ZygoteMode::Off)),
        ] {
            assert_eq!(read(isolation).unwrap(), IsolationOptions { zygote }, "{isolation}");
        }
    }

    fn read_files(files: &str) -> Result<SandboxExecutionRequest, Problem> {
        let body = format!(r#"{{"code": "", "files": {files}, "outputFiles": "inline"}}"#);
        json::read::<ExecuteRequest>(body.as_bytes(), &ExecuteRequest::SHAPE)?.into_request()
    }

    #[test]
    fn a_request_may_bring_files() {
        let request = read_files(
            r#"[{"path": "a/b", "text": "\u00e4"}, {"Path": "c", "Base64": "AP8="}, {"path": "", "text": ""}]"#,
        );
        let request = request.unwrap();
        let files: Vec<(&str, &[u8])> =
            request.files.iter().map(|file| (file.path.as_str(), file.content.as_slice())).collect();
        assert_eq!(files, [("a/b", "\u{e4}".as_bytes()), ("c", b"\x00\xFF"), ("", b"")]);
        assert_eq!(request.output_files, OutputFiles::Inline);
        assert!(read_files("null").unwrap().files.is_empty());
        let many = |count| format!("[{}]", vec![r#"{"path": "a", "text": ""}"#; count].join(","));
        assert_eq!(read_files(&many(100)).unwrap().files.len(), 100);
        assert!(read_files(&many(101)).is_err());
        let body = r#"{"code": "", "outputFiles": "some"}"#;
        let problem = json::read::<ExecuteRequest>(body.as_bytes(), &ExecuteRequest::SHAPE).unwrap_err();
        assert!(problem.detail().contains("`outputFiles`: unknown variant `some`, expected one of `none`"));
    }

    #[test]
    fn what_is_no_file_is_named_by_its_place() {
        let good = r#"{"path": "a", "text": ""}"#;
        for (file, detail) in [
            (r#"{"path": "a", "base64": "!"}"#, "`files[1].base64`: this is no base64"),
            (r#"{"path": "a", "base64": "QQ"}"#, "`files[1].base64`: this is no base64"),
            (
                r#"{"path": "a", "base64": 5}"#,
                "`files[1].base64`: invalid type: integer `5`, expected a string in base64",
            ),
            (r#"{"path": "a", "text": 5}"#, "`files[1].text`: invalid type"),
            (r#"{"path": 5, "text": ""}"#, "`files[1].path`: invalid type"),
            (r#"{"path": "a"}"#, "`files[1]`: the file has neither"),
            (r#"{"path": "a", "text": "", "base64": ""}"#, "`files[1]`: the file has both"),
            (r#"{"text": ""}"#, "`files[1]`: missing field `path`"),
            (r#"{"path": "a", "Path": "b", "text": ""}"#, "duplicate field `path`"),
            (r#"{"path": "a", "content": ""}"#, "unknown field `content`"),
            (r#"["a", ""]"#, "`files[1]`: invalid type: sequence, expected an object with a `path`"),
            (r#""a""#, "`files[1]`: invalid type: string"),
        ] {
            let problem = read_files(&format!("[{good}, {file}]")).unwrap_err();
            assert_eq!(problem.code(), ProblemCode::InvalidRequest, "{file}");
            assert!(problem.detail().contains(detail), "{file}: {}", problem.detail());
        }
        assert!(read_files(good).unwrap_err().detail().contains("`files`: invalid type: map"));
    }

    #[test]
    fn what_is_no_choice_is_named() {
        for (isolation, field, detail) in [
            (r#"{"zygote": "maybe"}"#, "isolation.zygote", "string \"maybe\", expected `on` or `off`"),
            (r#"{"zygote": "OFF"}"#, "isolation.zygote", "string \"OFF\", expected `on` or `off`"),
            (r#"{"zygote": false}"#, "isolation.zygote", "boolean `false`, expected `on` or `off`"),
            (r#"{"zygote": {"off": null}}"#, "isolation.zygote", "map, expected `on` or `off`"),
            (r#"{"zygotes": "off"}"#, "isolation.zygotes", "there is no field `isolation.zygotes`"),
            (r#"{"tier": "reduced"}"#, "isolation.tier", "there is no field `isolation.tier`"),
            (r#"{"zygote": "on", "Zygote": "off"}"#, "isolation.zygote", "is given twice"),
            (r#""off""#, "isolation", "a string, not an object"),
            (r#"["off"]"#, "isolation", "an array, not an object"),
        ] {
            let problem = read(isolation).unwrap_err();
            assert_eq!(problem.code(), ProblemCode::InvalidRequest, "{isolation}");
            let said = problem.detail();
            assert!(said.contains(&format!("`{field}`")) && said.contains(detail), "{isolation}: {said}");
        }
    }
}
