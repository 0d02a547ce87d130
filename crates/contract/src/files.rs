//! Files that go into a sandbox, and files that come out of it.

use serde::{Deserialize, Serialize};

use crate::encoding::{base64_bytes, optional_base64_bytes};

/// A file that is there before the program starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputFile {
    /// Where it goes, relative to `/work`: `data/input.csv`. Folders are made.
    pub path: String,
    /// What is in it.
    #[serde(with = "base64_bytes")]
    pub content: Vec<u8>,
}

/// What is done with the files that a program leaves in `/work`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OutputFiles {
    /// They are not looked at.
    None,
    /// New and changed ones are listed in the result, and kept to be downloaded.
    #[default]
    List,
    /// The same, and small ones are in the result, too.
    Inline,
}

/// How much is taken of the files that a program leaves. What is beyond is named in the result, as far as that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileLimits {
    /// Files that are taken.
    pub max_files: u32,
    /// Bytes of one.
    pub max_file_bytes: u64,
    /// Bytes of all together.
    pub max_total_bytes: u64,
    /// Bytes of one that is in the result itself, of [`OutputFiles::Inline`].
    pub max_inline_bytes: u64,
    /// Folders and files that are looked at.
    pub max_entries: u32,
    /// Folders within each other.
    pub max_depth: u32,
    /// How long it may take, in milliseconds.
    pub max_time_ms: u64,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self {
            max_files: 100,
            max_file_bytes: 16 << 20,
            max_total_bytes: 32 << 20,
            max_inline_bytes: 256 << 10,
            max_entries: 10_000,
            max_depth: 16,
            max_time_ms: 5_000,
        }
    }
}

/// A file that a program left in `/work`: new, or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OutputFile {
    /// Relative to `/work`, in UTF-8, with `/` between folders.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// By its name and its first bytes: `image/png`.
    pub mime_type: String,
    /// Hex SHA-256 of the content.
    pub sha256: String,
    /// The content in base64, of a small file where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_base64_bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub content: Option<Vec<u8>>,
}

/// A file that was taken, with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectedFile {
    /// What the result says of it.
    pub file: OutputFile,
    /// What is in it.
    pub content: Vec<u8>,
}

/// Something in `/work` that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SkippedFile {
    /// Relative to `/work`; what is no UTF-8 is replaced by U+FFFD.
    pub path: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why something was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum SkipReason {
    /// A symbolic link, a FIFO, a socket or a device.
    NotRegular,
    /// Larger than one file may be.
    TooLarge,
    /// All files together were larger than they may be.
    TotalTooLarge,
    /// There were more files, or more to look at, than may be.
    TooMany,
    /// Folders were deeper within each other than may be.
    TooDeep,
    /// Its name is no UTF-8.
    NameNotUtf8,
    /// It could not be read.
    Unreadable,
    /// Looking took too long.
    TimedOut,
}

/// What came of looking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectedFiles {
    /// What was taken, by path.
    pub files: Vec<CollectedFile>,
    /// What was not, at most as many as may be taken.
    pub skipped: Vec<SkippedFile>,
}
