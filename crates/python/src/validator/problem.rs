//! Why CPython would refuse a program, and how it says so.

use aevatar_sandbox_contract::PythonError;

use super::source::Source;

/// The name that a program has inside.
const PROGRAM: &str = "/work/main.py";
/// Characters of one line that a report shows.
const SHOWN: usize = 200;

/// Which exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Syntax,
    Indentation,
    Tab,
}

/// A reason to refuse a program, and which bytes of its text are to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    pub(super) message: String,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Problem {
    pub(super) fn new(kind: Kind, message: impl Into<String>, start: usize, end: usize) -> Self {
        Self { kind, message: message.into(), start, end }
    }

    pub(super) fn syntax(message: impl Into<String>, start: usize, end: usize) -> Self {
        Self::new(Kind::Syntax, message, start, end)
    }

    /// Whether it says that a statement is not complete, which a text that was cut after a line is bound to be.
    pub(super) fn is_of_an_early_end(&self) -> bool {
        const WORDS: [&str; 3] = ["expected an indented block", "expected 'except'", "expected class, function"];
        WORDS.iter().any(|words| self.message.starts_with(words))
    }

    /// In the form of an uncaught exception.
    pub(super) fn describe(&self, source: &Source) -> PythonError {
        let name = match self.kind {
            Kind::Syntax => "SyntaxError",
            Kind::Indentation => "IndentationError",
            Kind::Tab => "TabError",
        };
        let position = source.position(self.start);
        let end = source.position(self.end.max(self.start));
        let line = source.line(position.line);
        let first = index(position.column);
        let carets = if end.line == position.line {
            index(end.column).saturating_sub(first)
        } else {
            line.chars().count().saturating_sub(first)
        };
        let message = shorten(&self.message, 500);
        let shown = show(line, first, carets.max(1));
        PythonError {
            name: name.to_owned(),
            traceback: format!("  File \"{PROGRAM}\", line {}\n{shown}{name}: {message}\n", position.line),
            value: message,
            line: Some(position.line),
            column: Some(position.column),
            errno: None,
        }
    }
}

fn index(column: u32) -> usize {
    usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1)
}

/// The line as CPython shows it, with carets below; of a long line what is around them. Nothing of an empty one.
fn show(line: &str, first: usize, carets: usize) -> String {
    let body = line.trim_end();
    let stripped = body.trim_start_matches([' ', '\t', '\x0c']);
    let indentation = body.chars().count() - stripped.chars().count();
    let first = first.saturating_sub(indentation);
    let skipped = first.saturating_sub(SHOWN / 2);
    let shown: String = stripped.chars().skip(skipped).take(SHOWN).collect();
    if shown.is_empty() {
        return String::new();
    }
    let length = shown.chars().count();
    let before = (first - skipped).min(length);
    let carets = carets.min((length - before).max(1));
    format!("    {shown}\n    {}{}\n", " ".repeat(before), "^".repeat(carets))
}

/// At most so many characters, on one line, with an ellipsis for the rest.
pub(super) fn shorten(text: &str, most: usize) -> String {
    let mut short: String =
        text.chars().take(most).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}
