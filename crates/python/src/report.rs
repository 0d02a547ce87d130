//! The report pipe: lines that come out of a sandbox, each a JSON object, and hostile until read.
//!
//! `{"progress": {"fraction": 0.4, "message": "fitting"}}` may come any number of times, `{"error": …}` describes an
//! uncaught exception. Anything else is ignored: the program may have written it.

use aevatar_sandbox_contract::{Progress, PythonError};
use serde::Deserialize;

use crate::progress;

/// Bytes of a line that describes an exception; the sandbox's own runtime stays well below.
pub(crate) const MAX_REPORT: usize = 512 * 1024;
/// Bytes of a line that tells progress: what a pipe takes in one piece.
const MAX_PROGRESS: usize = 4096;
/// How the lines begin. Ours do to the byte, so that others cost no more than a look.
const PROGRESS: &[u8] = b"{\"progress\": ";
const ERROR: &[u8] = b"{\"error\": ";
/// Bytes of described exceptions that are read as they come. Of what a program writes beyond it, only the last line is.
const MAX_ERRORS: usize = 4 * MAX_REPORT;
/// Characters that are kept of a name.
const MAX_NAME: usize = 200;

#[derive(Deserialize)]
struct ErrorLine {
    error: PythonError,
}

#[derive(Deserialize)]
struct ProgressLine {
    progress: Progress,
}

/// Takes the lines of a report pipe as they come, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct ReportLines {
    /// The line that has not ended.
    line: Vec<u8>,
    /// Whether it is known to be none of ours: its rest is not kept.
    is_ignored: bool,
    /// The last line that tells progress, until it is read.
    progress: Option<Vec<u8>>,
    /// The last exception.
    error: Option<PythonError>,
    /// Bytes of described exceptions so far.
    errors: usize,
    /// The last line that came when there were too many.
    unread_error: Option<Vec<u8>>,
}

impl ReportLines {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (part, after) = rest.split_at(end);
            self.add(part);
            self.end_line();
            rest = after.get(1..).unwrap_or_default();
        }
        self.add(rest);
    }

    fn add(&mut self, part: &[u8]) {
        if self.is_ignored {
            return;
        }
        self.line.extend_from_slice(part.get(..=MAX_REPORT).unwrap_or(part));
        if self.line.len() > longest(&self.line) {
            self.is_ignored = true;
            self.line.clear();
        }
    }

    fn end_line(&mut self) {
        self.is_ignored = false;
        if self.line.starts_with(PROGRESS) {
            self.progress = Some(std::mem::take(&mut self.line));
        } else if self.line.starts_with(ERROR) {
            let line = std::mem::take(&mut self.line);
            self.errors = self.errors.saturating_add(line.len());
            if self.errors > MAX_ERRORS {
                self.unread_error = Some(line);
            } else {
                self.error = parse_line(&line).or_else(|| self.error.take());
            }
        }
        self.line.clear();
    }

    /// Whether there is progress that [`Self::take_progress`] has not read.
    pub(crate) const fn has_progress(&self) -> bool {
        self.progress.is_some()
    }

    /// Reads the last progress that was told, if it is fit to be shown.
    pub(crate) fn take_progress(&mut self) -> Option<Progress> {
        let line: ProgressLine = serde_json::from_slice(&self.progress.take()?).ok()?;
        progress::checked(line.progress)
    }

    /// The last exception that was described, when nothing more comes. A line need not have ended.
    pub(crate) fn into_error(mut self) -> Option<PythonError> {
        self.end_line();
        self.unread_error.take().and_then(|line| parse_line(&line)).or(self.error)
    }
}

/// How long a line may be that begins so; nothing, when it is none of ours.
fn longest(line: &[u8]) -> usize {
    let begins = |with: &[u8]| line.iter().zip(with).all(|(byte, expected)| byte == expected);
    if begins(ERROR) {
        MAX_REPORT
    } else if begins(PROGRESS) {
        MAX_PROGRESS
    } else {
        0
    }
}

fn parse_line(line: &[u8]) -> Option<PythonError> {
    let line: ErrorLine = serde_json::from_slice(line).ok()?;
    checked(line.error)
}

/// Reads the description of an exception that stands by itself. Anything that is not exactly one of ours is none.
///
/// Depth is bounded by the JSON parser (128) and by the shape: the fields are flat.
pub(crate) fn parse(bytes: &[u8]) -> Option<PythonError> {
    if bytes.len() > MAX_REPORT {
        return None;
    }
    checked(serde_json::from_slice(bytes).ok()?)
}

fn checked(mut error: PythonError) -> Option<PythonError> {
    if error.name.is_empty() || error.name.chars().count() > MAX_NAME {
        return None;
    }
    // It stands in the one line that says why a program ended.
    error.name.retain(|letter| !letter.is_control());
    error.line = error.line.filter(|line| *line > 0);
    error.column = error.column.filter(|column| *column > 0);
    Some(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZERO: &str = r#"{"name": "ZeroDivisionError", "value": "division by zero", "traceback": "Traceback ...", "line": 3, "errno": null}"#;

    fn error_of(text: impl AsRef<[u8]>) -> Option<PythonError> {
        let mut lines = ReportLines::default();
        lines.push(text.as_ref());
        lines.into_error()
    }

    fn progress_of(text: &str) -> Option<Progress> {
        let mut lines = ReportLines::default();
        lines.push(text.as_bytes());
        lines.take_progress()
    }

    fn named(name: &str) -> String {
        format!("{{\"error\": {{\"name\":\"{name}\",\"value\":\"\",\"traceback\":\"\"}}}}\n")
    }

    fn name_of(text: impl AsRef<[u8]>) -> Option<String> {
        error_of(text).map(|error| error.name)
    }

    #[test]
    fn reads_what_the_runtime_writes() {
        for error in [parse(ZERO.as_bytes()).unwrap(), error_of(format!("\n{{\"error\": {ZERO}}}\n")).unwrap()] {
            assert_eq!((error.name.as_str(), error.line, error.errno), ("ZeroDivisionError", Some(3), None));
        }
        let progress = progress_of("{\"progress\": {\"fraction\": 0.25, \"message\": \"fitting\"}}\n").unwrap();
        assert_eq!((progress.fraction, progress.message.as_deref()), (Some(0.25), Some("fitting")));
        let progress = progress_of("{\"progress\": {\"fraction\": null, \"message\": \"é\"}}\n").unwrap();
        assert_eq!((progress.fraction, progress.message.as_deref()), (None, Some("é")));
        let progress = progress_of("{\"progress\": {\"fraction\": 1}}\n").unwrap();
        assert_eq!((progress.fraction, progress.message), (Some(1.0), None));
    }

    #[test]
    fn takes_nothing_else() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let twice = br#"{"name":"A","value":"","traceback":""}{"name":"B","value":"","traceback":""}"#;
        let huge = format!(r#"{{"name":"A","value":"{}","traceback":""}}"#, "x".repeat(MAX_REPORT));
        let long_name = format!(r#"{{"name":"{}","value":"","traceback":""}}"#, "x".repeat(MAX_NAME + 1));
        for bytes in
            [b"".as_slice(), b"{}", b"null", b"\xFF\xFE", twice, deep.as_bytes(), huge.as_bytes(), long_name.as_bytes()]
        {
            assert_eq!(parse(bytes), None);
            assert_eq!(error_of([b"{\"error\": ", bytes, b"}\n"].concat()), None);
        }
        assert_eq!(error_of(format!("{ZERO}\n")), None, "it is in no object");
        for line in ["null", "[]", "0.5", "{\"fraction\": \"0.5\"}", "{\"fraction\": 1e999}", "{\"message\": 1}", "{}"]
        {
            assert_eq!(progress_of(&format!("{{\"progress\": {line}}}\n")), None, "{line}");
        }
        assert_eq!(progress_of("{\"progress\": {\"fraction\": 0.5}}"), None, "it has not ended");
    }

    #[test]
    fn the_last_exception_counts_whatever_stands_around_it() {
        assert_eq!(name_of(named("A") + &named("B")).as_deref(), Some("B"));
        let garbage = "\u{0}garbage\n{\"error\": {\"name\": 1}}\n{\"error\": \n{\"name\":\"half\n\n";
        assert_eq!(name_of(named("A") + garbage).as_deref(), Some("A"));
        assert_eq!(name_of(garbage.to_owned() + &named("B")).as_deref(), Some("B"));
        assert_eq!(name_of("x".repeat(3 * MAX_REPORT) + "\n" + &named("B")).as_deref(), Some("B"));
        // Without an end of line there is one at the end of the pipe.
        assert_eq!(name_of(named("A").trim_end()).as_deref(), Some("A"));
    }

    #[test]
    fn a_line_has_a_longest_length() {
        let padded = |length: usize| {
            let start = "{\"error\": {\"name\":\"A\",\"value\":\"\",\"traceback\":\"";
            format!("{start}{}\"}}}}\n", "x".repeat(length - start.len() - 3))
        };
        assert_eq!(name_of(padded(MAX_REPORT)).as_deref(), Some("A"));
        assert_eq!(name_of(padded(MAX_REPORT + 1)), None);
        let message = |length: usize| {
            let start = "{\"progress\": {\"message\": \"";
            format!("{start}{}\"}}}}\n", "x".repeat(length - start.len() - 3))
        };
        assert!(progress_of(&message(MAX_PROGRESS)).is_some());
        assert_eq!(progress_of(&message(MAX_PROGRESS + 1)), None);
    }

    #[test]
    fn of_very_many_exceptions_the_last_one_still_counts() {
        let long = "{\"error\": ".to_owned() + &"x".repeat(MAX_REPORT - 100) + "\n";
        let mut lines = ReportLines::default();
        lines.push(named("First").as_bytes());
        for _ in 0..6 {
            lines.push(long.as_bytes());
        }
        assert!(lines.errors > MAX_ERRORS);
        lines.push(named("Last").as_bytes());
        assert_eq!(lines.into_error().unwrap().name, "Last");
        let mut lines = ReportLines::default();
        lines.push((named("First") + &long.repeat(6)).as_bytes());
        assert_eq!(lines.into_error().unwrap().name, "First");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes).is_some();
        }

        /// How a pipe cuts them makes no difference, and what is kept of them is bounded.
        #[test]
        fn lines_are_the_same_in_any_pieces(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "\n", "{\"error\": ", "{\"progress\": ", "{\"name\":\"A\",\"value\":\"\",\"traceback\":\"\"}", "}",
                "{\"name\":\"B\",\"value\":\"\",\"traceback\":\"\"}}\n", "{\"fraction\": 0.5}", "{\"message\": \"m\"}}\n",
                "{", "x", "{\"error\":", "\u{0}", "}\n",
            ]), 0..40),
            cuts in proptest::collection::vec(1_usize..20, 1..10),
        ) {
            let text = pieces.concat();
            let mut whole = ReportLines::default();
            whole.push(text.as_bytes());
            let mut cut = ReportLines::default();
            let mut rest = text.as_bytes();
            for length in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, after) = rest.split_at(rest.len().min(*length));
                cut.push(part);
                prop_assert!(cut.line.len() <= MAX_REPORT);
                rest = after;
            }
            prop_assert_eq!(cut.take_progress(), whole.take_progress());
            prop_assert_eq!(cut.into_error(), whole.into_error());
        }
    }
}
