//! `appsettings.json`: what .NET accepts in it, and nothing more.

use std::{
    io::{self, Read as _},
    path::Path,
};

use jsonc_parser::{
    CollectOptions, ParseOptions, ParseStringErrorKind,
    ast::{Object, ObjectProp, StringLit, Value},
    common::Ranged as _,
    errors::{ParseError, ParseErrorKind},
    parse_to_ast,
};

use super::{
    CONNECTION_NAME, CONNECTION_SETTING, CONNECTION_STRINGS, SECTION,
    problem::{ConfigurationProblem, Origin},
    resolve::{Given, Raw, is_nearly_the_section},
    value,
};

/// Comments and trailing commas, as .NET; none of the parser's other liberties.
const SYNTAX: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// The text of a file; nothing when it may be missing and is.
///
/// # Errors
/// It cannot be read, is larger than 1 MiB, or is not UTF-8.
pub(super) fn read(path: &Path, optional: bool) -> Result<Option<String>, ConfigurationProblem> {
    const MOST: u64 = 1 << 20;
    let refuse = |what: &str| Err(ConfigurationProblem::of_file(path, None, what));
    let mut bytes = Vec::new();
    // The size is not asked for beforehand: a pipe has none. Not fs_err: the message names the path already.
    match std::fs::File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) if optional && error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return refuse(&format!("cannot be read: {error}; check the path and who may read it")),
    }
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MOST {
        return refuse("is larger than 1 MiB: no configuration is; check the path");
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = 1 + valid.split(|byte| *byte == b'\n').count().saturating_sub(1);
            let what = "is not UTF-8: save it as UTF-8, with or without a byte order mark";
            Err(ConfigurationProblem::of_file(path, Some(line), what))
        }
    }
}

/// What a file says about the section, in its order.
///
/// # Errors
/// The whole file cannot be used: it is not JSON, or no object.
pub(super) fn given(
    path: &Path,
    text: &str,
    problems: &mut Vec<ConfigurationProblem>,
) -> Result<Vec<Given>, ConfigurationProblem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let refuse = |line, what: &str| Err(ConfigurationProblem::of_file(path, line, what));
    let root = match parse_to_ast(text, &CollectOptions::default(), &SYNTAX) {
        Ok(parsed) => parsed.value,
        Err(error) => {
            let what = format!(
                "is not JSON: {}, at column {}; comments and trailing commas are allowed",
                complaint(&error),
                error.column_display()
            );
            return refuse(Some(error.line_display()), &what);
        }
    };
    let root = match root {
        Some(Value::Object(root)) => root,
        Some(other) => {
            return refuse(None, &format!("is {} and not an object, as in `{{ \"{SECTION}\": {{}} }}`", noun(&other)));
        }
        None => return refuse(None, "is empty: write `{}`, or leave the file out"),
    };
    let mut reader = Reader {
        path,
        text,
        line_ends: text.match_indices('\n').map(|(at, _)| at).collect(),
        given: Vec::new(),
        problems,
    };
    reader.root(&root);
    Ok(reader.given)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    /// Where lines end, so that the line of an offset is found without counting from the start each time.
    line_ends: Vec<usize>,
    given: Vec<Given>,
    problems: &'a mut Vec<ConfigurationProblem>,
}

impl Reader<'_> {
    fn root(&mut self, root: &Object) {
        for property in &root.properties {
            let name = property.name.as_str();
            let (section, below) = name.split_once(':').unwrap_or((name, ""));
            if is_nearly_the_section(section) {
                self.problems.push(ConfigurationProblem::of_file(
                    self.path,
                    Some(self.line(property.start())),
                    &format!(
                        "has a section `{}`, which nobody reads: did you mean `{SECTION}`?",
                        value::shown(section)
                    ),
                ));
            } else if section.eq_ignore_ascii_case(SECTION) {
                self.section(below, property);
            } else if section.eq_ignore_ascii_case(CONNECTION_STRINGS) {
                self.connection_strings(below, property);
            }
        }
    }

    /// The others in there are other programs'.
    fn connection_strings(&mut self, below: &str, property: &ObjectProp) {
        let is_ours = |name: &str| name.eq_ignore_ascii_case(CONNECTION_NAME);
        if is_ours(below) {
            self.value(CONNECTION_SETTING.to_owned(), property.start(), &property.value);
        } else if let Value::Object(object) = &property.value
            && below.is_empty()
        {
            for property in object.properties.iter().filter(|property| is_ours(property.name.as_str())) {
                self.value(CONNECTION_SETTING.to_owned(), property.start(), &property.value);
            }
        }
    }

    fn section(&mut self, below: &str, property: &ObjectProp) {
        match &property.value {
            Value::Object(object) if below.is_empty() => {
                for property in &object.properties {
                    self.property("", property);
                }
            }
            Value::NullKeyword(_) if below.is_empty() => {}
            other if below.is_empty() => {
                let what = format!(
                    "has a section `{SECTION}` that is {}: expected an object, as in `{{ \"DefaultTimeout\": 30 }}`",
                    noun(other)
                );
                let line = self.line(property.start());
                self.problems.push(ConfigurationProblem::of_file(self.path, Some(line), &what));
            }
            value => self.value(below.to_owned(), property.start(), value),
        }
    }

    fn property(&mut self, above: &str, property: &ObjectProp) {
        let name = property.name.as_str();
        let key = if above.is_empty() { name.to_owned() } else { format!("{above}:{name}") };
        self.value(key, property.start(), &property.value);
    }

    fn value(&mut self, key: String, start: usize, value: &Value) {
        // No setting is deeper; and keys that grow with each of many levels would take much memory.
        const LEVELS: usize = 3;
        let origin = Origin::line(self.path, self.line(start));
        match value {
            Value::Object(object) if !object.properties.is_empty() && key.matches(':').count() < LEVELS => {
                for property in &object.properties {
                    self.property(&key, property);
                }
            }
            value => {
                let raw = self.raw(&key, value);
                self.given.push(Given { key, raw, origin });
            }
        }
    }

    fn raw(&mut self, key: &str, value: &Value) -> Raw {
        match value {
            Value::StringLit(literal) => {
                self.check_characters(key, literal);
                Raw::Text(literal.value.clone().into_owned())
            }
            Value::NumberLit(literal) => Raw::Text(literal.value.to_owned()),
            Value::BooleanLit(literal) => Raw::Text(literal.value.to_string()),
            Value::NullKeyword(_) => Raw::Null,
            Value::Object(_) => Raw::Object,
            Value::Array(array) => Raw::List(
                array
                    .elements
                    .iter()
                    .map(|element| {
                        let raw = match element {
                            // A list in a list is refused for what it is; what it holds does not matter.
                            Value::Array(_) => Raw::List(Vec::new()),
                            element => self.raw(key, element),
                        };
                        (raw, Origin::line(self.path, self.line(element.start())))
                    })
                    .collect(),
            ),
        }
    }

    /// The parser takes what JSON forbids: a line break inside a text.
    fn check_characters(&mut self, key: &str, literal: &StringLit) {
        if literal.text(self.text).bytes().any(|byte| byte < b' ') {
            let origin = Origin::line(self.path, self.line(literal.start()));
            let what = "has a line break or another control character between its quotes: JSON does not allow it";
            self.problems.push(ConfigurationProblem::of_setting(key, &origin, what));
        }
    }

    /// The line of an offset, from 1.
    fn line(&self, offset: usize) -> usize {
        self.line_ends.partition_point(|end| *end < offset) + 1
    }
}

/// What a parser complains of, without any text of the file: it may be secret.
fn complaint(error: &ParseError) -> String {
    match error.kind() {
        ParseErrorKind::String(ParseStringErrorKind::InvalidUnicodeEscapeSequence(_)) => {
            "invalid unicode escape sequence".to_owned()
        }
        kind => {
            let text = kind.to_string();
            let mut letters = text.chars();
            letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
        }
    }
}

/// What a value is, without the value: it may be secret.
const fn noun(value: &Value) -> &'static str {
    match value {
        Value::StringLit(_) => "a text",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "a boolean",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "null",
    }
}
