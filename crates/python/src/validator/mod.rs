//! `PythonCodeValidator`: what is known of a program before it runs.
//!
//! The syntax of the environment's own minor version, the imports against the policy, and constructs that look
//! dangerous. None of it is a defence: a program is text from a stranger, and what it may do is decided by the kernel.
//! So the validator must answer quickly, and survive every text: see `scan` and `walk`.

mod constructs;
mod encodings;
mod findings;
mod imports;
mod names;
mod optional;
mod options;
mod problem;
mod scan;
mod scopes;
mod source;
mod stack;
mod suggestions;
mod syntax;
mod walk;

#[cfg(test)]
mod tests;

pub use options::{
    DEFAULT_ALLOWED_MODULES, DEFAULT_BLOCKED_MODULES, DangerousConstructs, ImportRules, ValidatorOptions,
};

use std::panic::{AssertUnwindSafe, catch_unwind};

use aevatar_sandbox_contract::{
    CodeFinding, ErrorCode, ImportPolicy, PythonVersion, SandboxError, ValidationReport, ValidationRule,
};

use self::{findings::Findings, names::Aliases, source::Decoded, source::Source};

/// What to do with a program that is too long.
const TOO_LONG: &str = "send data on stdin instead of in the program";

/// Operators in one expression up to which its parser may run on any thread.
const SHORT_CHAIN: usize = 1_000;

/// Reads programs without running them.
#[derive(Clone, Debug, Default)]
pub struct PythonCodeValidator {
    options: ValidatorOptions,
}

impl PythonCodeValidator {
    /// A validator with these options.
    pub const fn new(options: ValidatorOptions) -> Self {
        Self { options }
    }

    /// Checks what can be said without reading the program.
    ///
    /// # Errors
    /// It is longer than allowed, or contains NUL characters, which no Python program can.
    pub fn check_size(&self, code: &[u8]) -> Result<(), SandboxError> {
        if let Some(length) = self.excessive_length(code) {
            let most = self.options.max_code_length;
            return Err(SandboxError::new(
                ErrorCode::CodeTooLong,
                format!("the program has {length} characters, and {most} are allowed"),
            )
            .with_hint(TOO_LONG));
        }
        if code.contains(&0) {
            return Err(SandboxError::new(ErrorCode::InvalidRequest, "the program contains a NUL character")
                .with_hint("remove it: no Python program can contain one; write `\\0` in a string literal"));
        }
        Ok(())
    }

    /// Reads `code` as CPython `python` would, and checks it against `imports`, where imports are restricted.
    ///
    /// It returns for every input, in time linear in its length. It blocks the thread for that long: under a
    /// millisecond for an ordinary program, tenths of a second for a hostile one of a megabyte.
    pub fn validate(&self, code: &[u8], python: PythonVersion, imports: Option<&ImportPolicy>) -> ValidationReport {
        if let Some(report) = self.too_long(code) {
            return report;
        }
        let source = match source::decode(code) {
            Decoded::Text(source) => source,
            Decoded::Refused(source, problem) => {
                return ValidationReport {
                    syntax_error: Some(problem.describe(&source)),
                    ..ValidationReport::default()
                };
            }
            Decoded::Opaque { encoding, line } => {
                let encoding = problem::shorten(&encoding, findings::QUOTED);
                return self.opaque(
                    format!("the program is written in `{encoding}`, so it was not read before it runs"),
                    line,
                    "write it in UTF-8",
                );
            }
        };
        // A defect of the parser must not become one of the service.
        let examined = catch_unwind(AssertUnwindSafe(|| self.examine(&source, python, imports)));
        examined.ok().flatten().unwrap_or_else(|| {
            self.opaque("the program could not be read before it runs".to_owned(), 1, "write it more simply")
        })
    }

    /// The number of characters, if there are too many.
    fn excessive_length(&self, code: &[u8]) -> Option<usize> {
        let most = self.options.max_code_length;
        if code.len() <= most {
            return None;
        }
        // A character is a byte that does not go on with one, in UTF-8; in Latin-1 there are at least as many.
        let length = code.iter().filter(|byte| (**byte & 0xc0) != 0x80).count();
        (length > most).then_some(length)
    }

    /// The report on code that is longer than allowed. It is not read at all.
    fn too_long(&self, code: &[u8]) -> Option<ValidationReport> {
        let (length, most) = (self.excessive_length(code)?, self.options.max_code_length);
        Some(ValidationReport {
            violations: vec![CodeFinding {
                rule: ValidationRule::CodeLength,
                message: format!("the program has {length} characters, and {most} are allowed"),
                line: 1,
                column: 1,
                module: None,
                hint: TOO_LONG.to_owned(),
            }],
            ..ValidationReport::default()
        })
    }

    /// The report on a program that cannot be read.
    fn opaque(&self, message: String, line: u32, hint: &str) -> ValidationReport {
        let rule = ValidationRule::OpaqueEncoding;
        let finding = CodeFinding { rule, message, line, column: 1, module: None, hint: hint.to_owned() };
        match self.options.dangerous_constructs {
            DangerousConstructs::Reject => {
                ValidationReport { violations: vec![finding], ..ValidationReport::default() }
            }
            DangerousConstructs::Ignore => ValidationReport { is_valid: true, ..ValidationReport::default() },
            DangerousConstructs::Warn => {
                ValidationReport { is_valid: true, warnings: vec![finding], ..ValidationReport::default() }
            }
        }
    }

    /// Everything that needs the text. Nothing when it cannot be examined.
    fn examine(
        &self,
        source: &Source,
        python: PythonVersion,
        policy: Option<&ImportPolicy>,
    ) -> Option<ValidationReport> {
        let scan = scan::scan(source);
        let depth = if scan.longest_chain > SHORT_CHAIN { scan.longest_chain } else { 0 };
        // The parser makes a long chain without recursion. If it panicked then, the chain would be dropped with it.
        stack::for_drop(depth, || self.examine_scanned(source, &scan, python, policy)).flatten()
    }

    fn examine_scanned(
        &self,
        source: &Source,
        scan: &scan::Scan,
        python: PythonVersion,
        policy: Option<&ImportPolicy>,
    ) -> Option<ValidationReport> {
        let version = ruff_python_ast::PythonVersion { major: python.major, minor: python.minor };
        // Up to what the tokenizer refuses, the text is as good as any: what it imports is known, and what is wrong
        // with it CPython finds first.
        let text = match &scan.refused {
            Some((_, start)) => source.text().get(..*start).unwrap_or_default(),
            None => source.text(),
        };
        let mut tree = syntax::parse(text, scan, version);
        if tree.unchecked {
            return None;
        }
        let problem = tree.problem.take();
        let problem = match &scan.refused {
            Some((refused, start)) => {
                let earlier = problem.filter(|problem| problem.start < *start && !problem.is_of_an_early_end());
                earlier.or_else(|| Some(refused.clone()))
            }
            None => problem,
        };
        let mut aliases = Aliases::of(tree.body());
        let imports = imports::collect(tree.body(), source, &aliases, python.minor, policy);
        let constructs = match self.options.dangerous_constructs {
            DangerousConstructs::Ignore => Findings::default(),
            _ => constructs::collect(tree.body(), source, &mut aliases),
        };
        let is_rejecting = self.options.dangerous_constructs == DangerousConstructs::Reject;
        let (forbidden, warned) =
            if is_rejecting { (constructs, Findings::default()) } else { (Findings::default(), constructs) };
        let (violations, cut_violations) = imports.violations.merge(forbidden);
        let (warnings, cut_warnings) = warned.merge(Findings::default());
        let syntax_error = problem.map(|problem| problem.describe(source));
        Some(ValidationReport {
            is_valid: syntax_error.is_none() && violations.is_empty(),
            syntax_error,
            violations,
            warnings,
            imports: imports.modules,
            truncated: imports.truncated || cut_violations || cut_warnings,
        })
    }
}
