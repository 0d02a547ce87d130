//! From bytes to text, as CPython decodes a program, and from places in the text to lines and columns.

use super::{
    encodings::{self, Encoding},
    problem::Problem,
};

/// A place in a program as people count: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// The text of a program.
#[derive(Debug)]
pub(super) struct Source {
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// What decoding came to.
#[derive(Debug)]
pub(super) enum Decoded {
    /// The text.
    Text(Source),
    /// The text as far as it can be shown, and why CPython refuses it.
    Refused(Source, Problem),
    /// The program declares an encoding that Python knows and that is not read here.
    Opaque { encoding: String, line: u32 },
}

impl Source {
    pub(super) fn new(text: String) -> Self {
        let bytes = text.as_bytes();
        let mut lines = vec![0];
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
                lines.push(at + 1);
            }
        }
        Self { text, lines }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The place of a byte. One past the end is the end.
    pub(super) fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line_index(offset);
        let start = self.lines.get(line).copied().unwrap_or_default();
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        Position { line: number(line + 1), column: number(column + 1) }
    }

    /// The number of the line that a byte is in; 1 is the first.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.line_index(offset) + 1
    }

    /// The text of a line without its end.
    pub(super) fn line(&self, line: u32) -> &str {
        let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(start) = self.lines.get(index).copied() else { return "" };
        let end = self.lines.get(index + 1).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r'])
    }

    fn line_index(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).saturating_sub(1)
    }
}

/// A count for a report. Nothing here is longer than a program may be.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Decodes a program: a byte order mark, the declaration of PEP 263, or UTF-8.
pub(super) fn decode(code: &[u8]) -> Decoded {
    let (has_mark, code) = match code.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => (true, rest),
        None => (false, code),
    };
    if let Some(at) = code.iter().position(|byte| *byte == 0) {
        let before = code.get(..at).unwrap_or_default();
        let shown = String::from_utf8_lossy(before).into_owned();
        let end = shown.len();
        let problem = Problem::syntax("source code cannot contain null bytes", end, end);
        return Decoded::Refused(Source::new(shown), problem);
    }
    let Some((name, line)) = declared_encoding(code) else { return decode_utf8(code) };
    let refused = |message: String| {
        let problem = Problem::syntax(message, 0, 0);
        Decoded::Refused(Source::new(String::from_utf8_lossy(code).into_owned()), problem)
    };
    match encodings::look_up(&name) {
        // `utf8` is another name of the codec, and not one that the tokenizer knows.
        Encoding::Utf8 if !has_mark || encodings::is_utf8_to_the_tokenizer(&name) => decode_utf8(code),
        Encoding::Unknown => refused(format!("unknown encoding: {name}")),
        _ if has_mark => refused(format!("encoding problem: {name} with BOM")),
        Encoding::Latin1 => Decoded::Text(Source::new(code.iter().map(|byte| char::from(*byte)).collect())),
        Encoding::Ascii => match code.iter().position(|byte| !byte.is_ascii()) {
            None => decode_utf8(code),
            Some(at) => undecodable(code, "ascii", at, "ordinal not in range(128)"),
        },
        Encoding::Utf8 => decode_utf8(code),
        Encoding::Other => Decoded::Opaque { encoding: name, line },
    }
}

fn decode_utf8(code: &[u8]) -> Decoded {
    match std::str::from_utf8(code) {
        Ok(text) => Decoded::Text(Source::new(text.to_owned())),
        Err(error) => {
            let at = error.valid_up_to();
            let reason = match (error.error_len(), code.get(at)) {
                (None, _) => "unexpected end of data",
                (Some(1), Some(0x80..=0xc1 | 0xf5..)) => "invalid start byte",
                _ => "invalid continuation byte",
            };
            undecodable(code, "utf-8", at, reason)
        }
    }
}

fn undecodable(code: &[u8], codec: &str, at: usize, reason: &str) -> Decoded {
    let byte = code.get(at).copied().unwrap_or_default();
    let message = format!("(unicode error) '{codec}' codec can't decode byte 0x{byte:02x} in position {at}: {reason}");
    let offset = String::from_utf8_lossy(code.get(..at).unwrap_or_default()).len();
    let problem = Problem::syntax(message, offset, offset);
    Decoded::Refused(Source::new(String::from_utf8_lossy(code).into_owned()), problem)
}

/// The encoding that the first or the second line declares, and which line that is.
fn declared_encoding(code: &[u8]) -> Option<(String, u32)> {
    let mut lines = code.splitn(3, |byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    if let Some(name) = declaration(first) {
        return Some((name, 1));
    }
    // The second counts only after a line without code. A lone CR ends a line too.
    let code_starts = first.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\x0c'));
    let second = match first.iter().position(|byte| *byte == b'\r') {
        Some(at) if at + 1 < first.len() => first.get(at + 1..).unwrap_or_default(),
        _ => lines.next().unwrap_or_default(),
    };
    match code_starts {
        None | Some(b'#' | b'\r') => declaration(second).map(|name| (name, 2)),
        Some(_) => None,
    }
}

/// The name in `# -*- coding: name -*-`.
fn declaration(line: &[u8]) -> Option<String> {
    let line = line.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let hash = line.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\x0c'))?;
    let comment = line.get(hash..).filter(|comment| comment.first() == Some(&b'#'))?;
    let mut rest = comment;
    while let Some(at) = rest.windows(6).position(|word| word == b"coding") {
        rest = rest.get(at + 6..)?;
        let Some(b':' | b'=') = rest.first() else { continue };
        let value = rest.get(1..)?;
        let blanks = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let is_of_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let name: Vec<u8> = value.get(blanks..)?.iter().take_while(is_of_name).copied().take(100).collect();
        if !name.is_empty() {
            return String::from_utf8(name).ok();
        }
    }
    None
}
