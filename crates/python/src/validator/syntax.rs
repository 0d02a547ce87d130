//! The parser, and what it and the checks after it refuse.

use ruff_python_ast::{PythonVersion, Suite};
use ruff_python_parser::{
    InterpolatedStringErrorType, LexicalErrorType, Mode, ParseError, ParseErrorType, ParseOptions, Parsed,
    parse_unchecked,
};
use ruff_text_size::Ranged;

use super::{
    problem::{Kind, Problem},
    scan::{Scan, TOO_DEEP, without_quiet},
    scopes, stack,
    walk::{Node, dismantle, walk},
};

/// Bytes in strings and comments up to which the parser may take them for code when it has lost its way.
const MAX_QUIET: usize = 16 * 1024;

/// A syntax tree, and what is wrong with it. It takes itself apart.
#[derive(Debug)]
pub(super) struct Tree {
    body: Suite,
    /// Why CPython would refuse it.
    pub(super) problem: Option<Problem>,
    /// It could not be checked: there was no thread for it.
    pub(super) unchecked: bool,
}

impl Tree {
    pub(super) fn body(&self) -> &Suite {
        &self.body
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        dismantle(std::mem::take(&mut self.body));
    }
}

/// Levels of statements and expressions that CPython's compiler has room for.
const fn max_depth(version: PythonVersion) -> usize {
    // Measured, and 10,000 is what later releases of 3.12 have too: 3.12.1 stops at 3,000.
    if version.minor <= 11 { 3_000 } else { 10_000 }
}

/// Parses a text that was scanned without finding anything, and checks it.
pub(super) fn parse(text: &str, scan: &Scan, version: PythonVersion) -> Tree {
    if scan.quiet_bytes > MAX_QUIET {
        let tree = parse_as_is(&without_quiet(text, scan), version);
        // Its strings are empty, so only what is wrong with it counts.
        if tree.problem.is_some() {
            return tree;
        }
    }
    let mut tree = parse_as_is(text, version);
    if tree.problem.is_none() {
        match check(&tree.body, text, version) {
            Checked::Fine => {}
            Checked::Refused(problem) => tree.problem = Some(problem),
            Checked::NoRoom => tree.unchecked = true,
        }
    }
    tree
}

fn parse_as_is(text: &str, version: PythonVersion) -> Tree {
    let options = ParseOptions::from(Mode::Module).with_target_version(version);
    let Some(parsed) = parse_unchecked(text, options).try_into_module() else {
        return Tree { body: Suite::new(), problem: None, unchecked: true };
    };
    let problem = first_error(&parsed);
    Tree { body: parsed.into_suite(), problem, unchecked: false }
}

/// What came of the checks after parsing.
enum Checked {
    Fine,
    Refused(Problem),
    /// There was no thread for it.
    NoRoom,
}

/// Looks for what CPython finds wrong after parsing.
fn check(body: &Suite, text: &str, version: PythonVersion) -> Checked {
    let mut deepest = 0;
    let mut too_deep = None;
    walk(body, |node, depth| {
        deepest = deepest.max(depth);
        if depth > max_depth(version) && too_deep.is_none() {
            let start = match node {
                Node::Stmt(stmt) => stmt.start(),
                Node::Expr(expr) => expr.start(),
                Node::Pattern(pattern) => pattern.start(),
            };
            too_deep = Some(Problem::syntax(TOO_DEEP, start.to_usize(), start.to_usize()));
        }
    });
    if let Some(problem) = too_deep {
        return Checked::Refused(problem);
    }
    match stack::with_room(deepest, || scopes::check(body, text, version)) {
        Some(Some(problem)) => Checked::Refused(problem),
        Some(None) => Checked::Fine,
        None => Checked::NoRoom,
    }
}

/// The first error of the parser, or of the version.
fn first_error<T>(parsed: &Parsed<T>) -> Option<Problem> {
    let error = parsed.errors().iter().min_by_key(|error| error.location.start());
    let unsupported = parsed.unsupported_syntax_errors().iter().min_by_key(|error| error.range.start());
    match (error, unsupported) {
        (Some(error), Some(unsupported)) if error.location.start() <= unsupported.range.start() => {
            Some(describe(error))
        }
        (_, Some(unsupported)) => {
            let range = unsupported.range;
            let message = unsupported.to_string().replace('`', "'");
            Some(Problem::syntax(lower(&message), range.start().to_usize(), range.end().to_usize()))
        }
        (Some(error), None) => Some(describe(error)),
        (None, None) => None,
    }
}

fn describe(error: &ParseError) -> Problem {
    let (start, end) = (error.location.start().to_usize(), error.location.end().to_usize());
    let (kind, message) = match &error.error {
        ParseErrorType::UnexpectedIndentation => (Kind::Indentation, "unexpected indent".to_owned()),
        ParseErrorType::OtherError(message) if message.starts_with("Expected an indented block") => {
            (Kind::Indentation, lower(&message.replace('`', "'")))
        }
        ParseErrorType::Lexical(LexicalErrorType::IndentationError) => {
            (Kind::Indentation, "unindent does not match any outer indentation level".to_owned())
        }
        ParseErrorType::Lexical(LexicalErrorType::UnrecognizedToken { tok }) if tok.is_ascii() => {
            (Kind::Syntax, "invalid syntax".to_owned())
        }
        ParseErrorType::Lexical(LexicalErrorType::UnrecognizedToken { tok }) => {
            let code = u32::from(*tok);
            let message = if tok.is_control() || tok.is_whitespace() || matches!(code, 0x200b..=0x200f | 0xfeff) {
                format!("invalid non-printable character U+{code:04X}")
            } else {
                format!("invalid character '{tok}' (U+{code:04X})")
            };
            (Kind::Syntax, message)
        }
        ParseErrorType::Lexical(LexicalErrorType::OtherError(_)) => (Kind::Syntax, "invalid syntax".to_owned()),
        ParseErrorType::FStringError(InterpolatedStringErrorType::SingleRbrace) => {
            (Kind::Syntax, "f-string: single '}' is not allowed".to_owned())
        }
        other => (Kind::Syntax, lower(&other.to_string().replace('`', "'"))),
    };
    Problem::new(kind, message, start, end)
}

/// CPython begins its messages with a small letter, unless the first word is a name.
fn lower(message: &str) -> String {
    let mut letters = message.chars();
    match (letters.next(), message.chars().nth(1)) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => message.to_owned(),
    }
}
