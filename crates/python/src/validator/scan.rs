//! One linear pass over the characters, before any parser: what CPython's tokenizer refuses, and how deeply the parser
//! would have to nest.
//!
//! It uses no recursion, so it is what stands between a hostile text and a parser that does. What it lets pass has
//! balanced brackets, closed strings and consistent indentation, as CPython 3.12 counts them; in 3.11 the inside of an
//! f-string is no code yet, and the parser knows the difference.

use super::{
    problem::{Kind, Problem},
    source::Source,
};

/// Brackets that may be open at once: `MAXLEVEL` of CPython's tokenizer.
const MAX_BRACKETS: usize = 200;
/// Levels of indentation, the first included: `MAXINDENT`.
const MAX_INDENTS: usize = 100;
/// F-strings within f-strings: `MAXFSTRINGLEVEL`.
const MAX_STRINGS: usize = 150;
/// Prefixes (`not`, `-`, `lambda:`) before one operand, over all open brackets: CPython's parser has a stack of 6,000
/// rules and uses at least one for each.
const MAX_PREFIXES: usize = 6_000;
/// Digits of a decimal integer: `sys.int_info.default_max_str_digits`.
const MAX_DIGITS: usize = 4_300;
/// What is said of code that CPython's parser or compiler has no stack for. CPython says `MemoryError` or
/// `RecursionError`.
pub(super) const TOO_DEEP: &str = "too deeply nested";

/// What one pass found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// What the tokenizer refuses, and where the logical line with it begins.
    pub(super) refused: Option<(Problem, usize)>,
    /// The insides of strings and comments, where there is one.
    pub(super) quiet: Vec<(usize, usize)>,
    /// Bytes in `quiet`.
    pub(super) quiet_bytes: usize,
    /// The longest chain of operators in one expression.
    pub(super) longest_chain: usize,
}

/// An open bracket.
#[derive(Debug)]
struct Open {
    byte: u8,
    at: usize,
    /// What was counted outside, to go on with after the closing one.
    outside: Counters,
}

/// An open f-string.
#[derive(Debug)]
struct Interpolated {
    quote: u8,
    is_triple: bool,
    is_raw: bool,
    at: usize,
    /// Open brackets when it began.
    brackets: usize,
    /// Format specifications that are open: `{a:{b:`.
    specifications: usize,
}

/// What is counted of the expression at hand; it begins anew where a sibling begins.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    /// Prefixes that the next binary operator ends: `-`, `await`, and powers, which nest like them.
    tight: usize,
    /// `not`: ended by `and`, `or`, `if`.
    nots: usize,
    /// Ended by nothing but a sibling: `lambda:`, `else`.
    loose: usize,
    operators: usize,
    /// Lambdas whose colon has not come: until then a comma is between parameters.
    lambdas: usize,
}

impl Counters {
    const fn prefixes(&self) -> usize {
        self.tight + self.nots + self.loose
    }
}

struct Scanner<'a> {
    source: &'a Source,
    bytes: &'a [u8],
    at: usize,
    brackets: Vec<Open>,
    strings: Vec<Interpolated>,
    indents: Vec<(usize, usize)>,
    counters: Counters,
    /// Prefixes counted outside of the open brackets.
    outside: usize,
    /// Whether the last token could end an operand: then `-` is binary.
    after_operand: bool,
    logical_line: usize,
    found: Scan,
}

/// Scans a whole text.
pub(super) fn scan(source: &Source) -> Scan {
    let mut scanner = Scanner {
        source,
        bytes: source.text().as_bytes(),
        at: 0,
        brackets: Vec::new(),
        strings: Vec::new(),
        indents: Vec::new(),
        counters: Counters::default(),
        outside: 0,
        after_operand: false,
        logical_line: 0,
        found: Scan::default(),
    };
    if let Err(problem) = scanner.run() {
        scanner.found.refused = Some((problem, scanner.logical_line));
    }
    scanner.found
}

/// The text with nothing in its strings and comments, byte for byte as long. A parser that loses its way in this one
/// cannot find code where the program has text.
pub(super) fn without_quiet(text: &str, scan: &Scan) -> String {
    let mut quiet = String::with_capacity(text.len());
    let mut copied = 0;
    for (start, end) in scan.quiet.iter().copied().filter(|(start, _)| *start < text.len()) {
        quiet.push_str(text.get(copied..start).unwrap_or_default());
        let end = end.min(text.len());
        quiet.extend(std::iter::repeat_n('x', end.saturating_sub(start)));
        copied = end;
    }
    quiet.push_str(text.get(copied..).unwrap_or_default());
    quiet
}

type Step = Result<(), Problem>;

impl Scanner<'_> {
    fn run(&mut self) -> Step {
        self.indentation()?;
        while self.at < self.bytes.len() {
            if self.is_in_string_text() {
                self.string_text()?;
            } else {
                self.token()?;
            }
        }
        self.end()
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or_default()
    }

    fn is_in_string_text(&self) -> bool {
        self.strings.last().is_some_and(|string| self.brackets.len() - string.brackets <= string.specifications)
    }

    /// Whether a line break here ends a logical line.
    fn is_at_top(&self) -> bool {
        self.brackets.is_empty() && self.strings.is_empty()
    }

    /// Consumes a line break.
    fn line_break(&mut self) -> bool {
        match self.peek(0) {
            b'\n' => self.at += 1,
            b'\r' => self.at += 1 + usize::from(self.peek(1) == b'\n'),
            _ => return false,
        }
        true
    }

    fn sibling(&mut self) {
        self.counters = Counters::default();
        self.after_operand = false;
    }

    /// Counts a prefix: one of `which` more.
    fn prefix(&mut self, which: fn(&mut Counters) -> &mut usize) -> Step {
        *which(&mut self.counters) += 1;
        if self.outside + self.counters.prefixes() > MAX_PREFIXES {
            return Err(Problem::syntax(TOO_DEEP, self.at, self.at + 1));
        }
        self.operator();
        Ok(())
    }

    /// Counts a binary operator, which ends prefixes that bind tighter.
    fn binary(&mut self) {
        self.counters.tight = 0;
        self.operator();
    }

    fn operator(&mut self) {
        self.counters.operators += 1;
        self.found.longest_chain = self.found.longest_chain.max(self.counters.operators);
        self.after_operand = false;
    }

    fn quiet(&mut self, start: usize, end: usize) {
        if end > start {
            self.found.quiet.push((start, end));
            self.found.quiet_bytes += end - start;
        }
    }

    /// The indentation of a line, as CPython counts it: tabs to columns of eight, and again as single columns.
    fn indentation(&mut self) -> Step {
        let (mut column, mut other) = (0, 0);
        // Before a backslash: what follows on the next line is no indentation.
        let mut continued = 0;
        self.logical_line = self.at;
        loop {
            match self.peek(0) {
                b' ' => (column, other) = (column + 1, other + 1),
                b'\t' => (column, other) = ((column / 8 + 1) * 8, other + 1),
                b'\x0c' => (column, other) = (0, 0),
                b'\\' => {
                    if continued == 0 {
                        continued = column;
                    }
                    self.continuation()?;
                    continue;
                }
                _ => break,
            }
            self.at += 1;
        }
        if self.at == self.bytes.len() || matches!(self.peek(0), b'#' | b'\n' | b'\r') {
            return Ok(());
        }
        if continued > 0 {
            (column, other) = (continued, continued);
        }
        self.indent(column, other)
    }

    fn indent(&mut self, column: usize, other: usize) -> Step {
        let inconsistent = |at| Problem::new(Kind::Tab, "inconsistent use of tabs and spaces in indentation", at, at);
        let levels = self.indents.len();
        while self.indents.last().is_some_and(|(level, _)| column < *level) {
            self.indents.pop();
        }
        let is_after_deeper = self.indents.len() < levels;
        let (level, other_level) = self.indents.last().copied().unwrap_or_default();
        if column == level {
            return if other == other_level { Ok(()) } else { Err(inconsistent(self.at)) };
        }
        if is_after_deeper {
            let message = "unindent does not match any outer indentation level";
            return Err(Problem::new(Kind::Indentation, message, self.at, self.at));
        }
        if self.indents.len() + 2 > MAX_INDENTS {
            return Err(Problem::new(Kind::Indentation, "too many levels of indentation", self.at, self.at));
        }
        if other <= other_level {
            return Err(inconsistent(self.at));
        }
        self.indents.push((column, other));
        Ok(())
    }

    fn continuation(&mut self) -> Step {
        let start = self.at;
        self.at += 1;
        if !self.line_break() {
            let message = "unexpected character after line continuation character";
            return Err(Problem::syntax(message, start, start + 1));
        }
        if self.at == self.bytes.len() {
            return Err(Problem::syntax("unexpected EOF while parsing", start, start));
        }
        Ok(())
    }

    fn token(&mut self) -> Step {
        let byte = self.peek(0);
        match byte {
            b' ' | b'\t' | b'\x0c' => self.at += 1,
            b'\n' | b'\r' => {
                self.line_break();
                if self.is_at_top() {
                    self.sibling();
                    self.indentation()?;
                }
            }
            b'\\' => self.continuation()?,
            b'#' => {
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
                self.quiet(self.at + 1, self.at + length);
                self.at += length;
            }
            b'\'' | b'"' => self.string(self.at, false, false)?,
            b'0'..=b'9' => self.number()?,
            b'.' if self.peek(1).is_ascii_digit() => self.number()?,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => self.word()?,
            b'(' | b'[' | b'{' => self.open(byte)?,
            b')' | b']' | b'}' => self.close(byte)?,
            b',' => {
                if self.counters.lambdas == 0 {
                    self.sibling();
                }
                self.after_operand = false;
                self.at += 1;
            }
            b';' => {
                if self.brackets.is_empty() {
                    self.sibling();
                }
                self.at += 1;
            }
            b':' => self.colon()?,
            b'$' | b'?' | b'`' => return Err(Problem::syntax("invalid syntax", self.at, self.at + 1)),
            b'+' | b'-' | b'~' if !self.after_operand => {
                self.prefix(|counters| &mut counters.tight)?;
                self.at += 1;
            }
            b'*' => {
                // A power nests to the right; a star before an operand is a prefix.
                let is_double = self.peek(1) == b'*';
                if is_double || !self.after_operand {
                    self.prefix(|counters| &mut counters.tight)?;
                } else {
                    self.binary();
                }
                self.at += 1 + usize::from(is_double);
            }
            0..b' ' | 0x7f => {
                let message = format!("invalid non-printable character U+{byte:04X}");
                return Err(Problem::syntax(message, self.at, self.at + 1));
            }
            b'.' if self.peek(1) == b'.' && self.peek(2) == b'.' => {
                self.operator();
                self.after_operand = true;
                self.at += 3;
            }
            // Within a line it needs an operand before it. The parser takes its time over many that have none.
            b'@' if !self.after_operand && self.counters.operators > 0 => {
                return Err(Problem::syntax("invalid syntax", self.at, self.at + 1));
            }
            b'.' | b'=' | b'!' | b'@' if !self.after_operand || byte == b'.' => {
                self.operator();
                self.at += 1;
            }
            _ => {
                self.binary();
                self.at += 1;
            }
        }
        Ok(())
    }

    fn colon(&mut self) -> Step {
        if self.counters.lambdas > 0 {
            self.counters.lambdas -= 1;
        } else if let Some(string) = self.strings.last_mut()
            && self.brackets.len() - string.brackets == string.specifications + 1
        {
            // `f"{value:`: text again, up to the brace.
            string.specifications += 1;
            self.at += 1;
            return Ok(());
        } else if self.peek(1) == b'=' {
            self.prefix(|counters| &mut counters.loose)?;
            self.at += 1;
        }
        self.after_operand = false;
        self.at += 1;
        Ok(())
    }

    fn word(&mut self) -> Step {
        let start = self.at;
        while matches!(self.peek(0), b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | 0x80..) {
            self.at += 1;
        }
        let word = self.bytes.get(start..self.at).unwrap_or_default();
        if matches!(self.peek(0), b'\'' | b'"') && is_string_prefix(word) {
            let has = |letter: u8| word.iter().any(|byte| byte.to_ascii_lowercase() == letter);
            return self.string(start, has(b'f') || has(b't'), has(b'r'));
        }
        match word {
            b"lambda" => {
                self.prefix(|counters| &mut counters.loose)?;
                self.counters.lambdas += 1;
            }
            b"not" if self.after_operand => self.binary(),
            b"not" => self.prefix(|counters| &mut counters.nots)?,
            b"await" => self.prefix(|counters| &mut counters.tight)?,
            b"else" | b"yield" | b"async" => self.prefix(|counters| &mut counters.loose)?,
            b"in" | b"is" => self.binary(),
            b"and" | b"or" | b"if" | b"for" => {
                self.counters.nots = 0;
                self.binary();
            }
            b"assert" | b"as" | b"del" | b"elif" | b"except" | b"from" | b"import" | b"raise" | b"return"
            | b"while" | b"with" => self.after_operand = false,
            _ => self.after_operand = true,
        }
        Ok(())
    }

    fn number(&mut self) -> Step {
        let start = self.at;
        let is_radix = self.peek(0) == b'0' && matches!(self.peek(1) | 0x20, b'x' | b'o' | b'b');
        if is_radix {
            self.at += 2;
            self.digits(u8::is_ascii_hexdigit);
        } else {
            let digits = self.digits(u8::is_ascii_digit);
            let is_integer = !matches!(self.peek(0), b'.' | b'e' | b'E' | b'j' | b'J');
            if is_integer && digits > MAX_DIGITS {
                let message = format!(
                    "Exceeds the limit ({MAX_DIGITS} digits) for integer string conversion: value has {digits} \
                     digits; use sys.set_int_max_str_digits() to increase the limit - Consider hexadecimal for huge \
                     integer literals to avoid decimal conversion limits."
                );
                return Err(Problem::syntax(message, start, start + 1));
            }
            if self.peek(0) == b'.' {
                self.at += 1;
                self.digits(u8::is_ascii_digit);
            }
            let exponent = match (self.peek(0) | 0x20, self.peek(1), self.peek(2)) {
                (b'e', b'0'..=b'9', _) => 1,
                (b'e', b'+' | b'-', b'0'..=b'9') => 2,
                _ => 0,
            };
            if exponent > 0 {
                self.at += exponent;
                self.digits(u8::is_ascii_digit);
            }
            self.at += usize::from(self.peek(0) | 0x20 == b'j');
        }
        self.after_operand = true;
        Ok(())
    }

    fn digits(&mut self, is_digit: fn(&u8) -> bool) -> usize {
        let mut digits = 0;
        loop {
            let byte = self.peek(0);
            if is_digit(&byte) {
                digits += 1;
            } else if byte != b'_' {
                return digits;
            }
            self.at += 1;
        }
    }

    fn open(&mut self, byte: u8) -> Step {
        if self.brackets.len() >= MAX_BRACKETS {
            return Err(Problem::syntax("too many nested parentheses", self.at, self.at + 1));
        }
        self.operator();
        self.outside += self.counters.prefixes();
        self.brackets.push(Open { byte, at: self.at, outside: self.counters });
        self.sibling();
        self.at += 1;
        Ok(())
    }

    fn close(&mut self, byte: u8) -> Step {
        let within = self.strings.last().map_or("", |_| "f-string: ");
        let name = char::from(byte);
        let here = |message: String| Problem::syntax(message, self.at, self.at + 1);
        let Some(open) = self.brackets.last() else { return Err(here(format!("{within}unmatched '{name}'"))) };
        if !matches!((open.byte, byte), (b'(', b')') | (b'[', b']') | (b'{', b'}')) {
            let (line, opened) = (self.source.line_of(self.at), self.source.line_of(open.at));
            let on = if line == opened { String::new() } else { format!(" on line {opened}") };
            let other = char::from(open.byte);
            let message = "does not match opening parenthesis";
            return Err(here(format!("{within}closing parenthesis '{name}' {message} '{other}'{on}")));
        }
        if let Some(string) = self.strings.last_mut()
            && string.specifications > 0
            && self.brackets.len() - string.brackets <= string.specifications
        {
            string.specifications -= 1;
        }
        if let Some(open) = self.brackets.pop() {
            self.counters = open.outside;
            self.outside -= self.counters.prefixes();
        }
        self.after_operand = true;
        self.at += 1;
        Ok(())
    }

    /// A string, at its first quote; `start` is at its prefix.
    fn string(&mut self, start: usize, is_interpolated: bool, is_raw: bool) -> Step {
        let quote = self.peek(0);
        let is_triple = self.peek(1) == quote && self.peek(2) == quote;
        self.at += if is_triple { 3 } else { 1 };
        if is_interpolated {
            if self.strings.len() >= MAX_STRINGS {
                return Err(Problem::syntax("too many nested f-strings", start, self.at));
            }
            let brackets = self.brackets.len();
            self.strings.push(Interpolated { quote, is_triple, is_raw, at: start, brackets, specifications: 0 });
            return Ok(());
        }
        let content = self.at;
        loop {
            match self.peek(0) {
                _ if self.at >= self.bytes.len() => return Err(self.unterminated(start, is_triple, "")),
                b'\\' => {
                    self.at += 1;
                    if !self.line_break() {
                        self.at += 1;
                    }
                }
                b'\n' | b'\r' if !is_triple => return Err(self.unterminated(start, false, "")),
                byte if byte == quote && self.ends_string(quote, is_triple) => break,
                _ => self.at += 1,
            }
        }
        self.quiet(content, self.at);
        self.at += if is_triple { 3 } else { 1 };
        self.after_operand = true;
        Ok(())
    }

    fn ends_string(&self, quote: u8, is_triple: bool) -> bool {
        !is_triple || (self.peek(1) == quote && self.peek(2) == quote)
    }

    fn unterminated(&self, start: usize, is_triple: bool, kind: &str) -> Problem {
        let triple = if is_triple { "triple-quoted " } else { "" };
        let line = self.source.line_of(self.at.min(self.bytes.len()));
        let message = format!("unterminated {triple}{kind}string literal (detected at line {line})");
        Problem::syntax(message, start, start + 1)
    }

    /// The text of an f-string, up to a brace or its end.
    fn string_text(&mut self) -> Step {
        let Some(string) = self.strings.last() else { return Ok(()) };
        let (quote, is_triple, is_raw, start) = (string.quote, string.is_triple, string.is_raw, string.at);
        let is_specification = string.specifications > 0;
        let content = self.at;
        let mut is_named = false;
        loop {
            match self.peek(0) {
                _ if self.at >= self.bytes.len() => return Err(self.unterminated(start, is_triple, "f-")),
                b'\\' => {
                    self.at += 1;
                    if matches!(self.peek(0), b'{' | b'}') {
                        continue;
                    }
                    if !is_raw && self.peek(0) == b'N' && self.peek(1) == b'{' {
                        is_named = true;
                        self.at += 2;
                    } else if !self.line_break() {
                        self.at += 1;
                    }
                }
                b'\n' | b'\r' if !is_triple => return Err(self.unterminated(start, false, "f-")),
                byte if byte == quote && self.ends_string(quote, is_triple) => {
                    self.quiet(content, self.at);
                    if is_specification {
                        return Err(Problem::syntax("f-string: expecting '}'", self.at, self.at + 1));
                    }
                    self.at += if is_triple { 3 } else { 1 };
                    self.strings.pop();
                    self.after_operand = true;
                    return Ok(());
                }
                b'}' if is_named => {
                    is_named = false;
                    self.at += 1;
                }
                byte @ (b'{' | b'}') if !is_specification && self.peek(1) == byte => self.at += 2,
                b'{' => {
                    self.quiet(content, self.at);
                    return self.open(b'{');
                }
                b'}' if is_specification => {
                    self.quiet(content, self.at);
                    return self.close(b'}');
                }
                b'}' => {
                    return Err(Problem::syntax("f-string: single '}' is not allowed", self.at, self.at + 1));
                }
                _ => self.at += 1,
            }
        }
    }

    fn end(&mut self) -> Step {
        if let Some(string) = self.strings.last()
            && self.is_in_string_text()
        {
            return Err(self.unterminated(string.at, string.is_triple, "f-"));
        }
        let Some(open) = self.brackets.last() else { return Ok(()) };
        let name = char::from(open.byte);
        // CPython looks no further than the line of the bracket.
        self.logical_line = self.logical_line.min(open.at);
        Err(Problem::syntax(format!("'{name}' was never closed"), open.at, open.at + 1))
    }
}

/// Whether these letters before a quote belong to the string. `t` is a prefix only after 3.13; the parser knows it in
/// every version, and says so.
fn is_string_prefix(word: &[u8]) -> bool {
    let [first, rest @ ..] = word else { return false };
    match (first | 0x20, rest) {
        (b'r' | b'u' | b'b' | b'f' | b't', []) => true,
        (b'b' | b'f' | b't', [second]) => second | 0x20 == b'r',
        (b'r', [second]) => matches!(second | 0x20, b'b' | b'f' | b't'),
        _ => false,
    }
}
