//! The files of a request.

use std::fmt;

use aevatar_sandbox_contract::InputFile;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use utoipa::ToSchema;

/// A file that is there before the program starts. It has a `text` or a `base64`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RequestFile)]
pub(crate) struct RequestFile {
    /// Where it goes, relative to `/work`. Folders are made.
    #[serde(alias = "Path")]
    #[schema(example = "data/input.csv")]
    path: String,
    /// What is in it, as text: UTF-8 in the file.
    #[serde(alias = "Text")]
    #[schema(example = "name,value\n")]
    text: Option<String>,
    /// What is in it, as base64: the standard alphabet, with padding.
    #[serde(alias = "Base64")]
    #[schema(value_type = Option<String>)]
    base64: Option<Base64>,
}

/// All of them, in the service's words.
#[derive(Debug, Default)]
pub(crate) struct RequestFiles(pub(crate) Vec<InputFile>);

/// A request has fewer; they are counted while they are read, because a small text can have a great many.
const MAX_FILES: usize = 100;

#[derive(Debug)]
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Base64;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string in base64")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Base64, E> {
                let wrong =
                    |error| E::custom(format!("this is no base64 of the standard alphabet with padding: {error}"));
                BASE64_STANDARD.decode(text).map(Base64).map_err(wrong)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'de> Deserialize<'de> for RequestFiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List).map(Self)
    }
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = Vec<InputFile>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list of at most {MAX_FILES} files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut files = Vec::new();
        while let Some(Entry(file)) = list.next_element()? {
            if files.len() == MAX_FILES {
                return Err(A::Error::invalid_length(MAX_FILES + 1, &self));
            }
            files.push(file);
        }
        Ok(files)
    }
}

/// One of them. Not an array: serde would take its values for those of the fields, in their order.
struct Entry(InputFile);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with a `path`, and a `text` or a `base64`")
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Entry, A::Error> {
                let RequestFile { path, text, base64 } = RequestFile::deserialize(MapAccessDeserializer::new(object))?;
                let content = match (text, base64) {
                    (Some(text), None) => text.into_bytes(),
                    (None, Some(Base64(bytes))) => bytes,
                    (None, None) => return Err(A::Error::custom("the file has neither a `text` nor a `base64`")),
                    (Some(_), Some(_)) => return Err(A::Error::custom("the file has both a `text` and a `base64`")),
                };
                Ok(Entry(InputFile { path, content }))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
