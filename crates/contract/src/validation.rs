//! What is known of a program before it runs.

use serde::{Deserialize, Serialize};

use crate::result::PythonError;

/// A rule that a program met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum ValidationRule {
    /// The program is longer than allowed.
    CodeLength,
    /// It imports a module that is blocked.
    BlockedModule,
    /// It imports a module that is neither in the standard library nor allowed.
    ModuleNotAllowed,
    /// `exec`, `eval` or `compile` of what is not a literal: it hides what will run.
    DynamicCode,
    /// `exec`, `eval` or `compile` of a text that was decoded or decompressed: the usual wrapping of malicious code.
    DecodedCode,
    /// A walk over dunder attributes towards the interpreter's insides: `().__class__.__base__.__subclasses__()`.
    DunderWalk,
    /// An import whose module is computed: only the check at run time can see it.
    ComputedImport,
    /// Loading of pickled or marshalled data, which runs code of whoever made it.
    UnsafeDeserialization,
    /// A command for a shell, of which a sandbox has none.
    ShellCommand,
    /// The source is in an encoding that cannot be read before it runs.
    OpaqueEncoding,
}

/// One place of a program that met a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CodeFinding {
    /// The rule.
    pub rule: ValidationRule,
    /// One sentence.
    pub message: String,
    /// Line; 1 is the first.
    pub line: u32,
    /// Column in characters; 1 is the first.
    pub column: u32,
    /// The module, of a rule about imports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// What to do instead.
    pub hint: String,
}

/// One import of a program, as far as it can be read from the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModuleImport {
    /// The module as written: `sklearn.linear_model`. For `from a import b`, `a`.
    pub module: String,
    /// Line of its first import; 1 is the first.
    pub line: u32,
    /// Column in characters; 1 is the first.
    pub column: u32,
}

/// The most findings, and the most imports, that one report lists.
pub const MAX_FINDINGS: usize = 100;

/// What is known of a program before it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ValidationReport {
    /// Whether it would be run: no syntax error and no violation.
    pub is_valid: bool,
    /// Why CPython would refuse it.
    pub syntax_error: Option<PythonError>,
    /// Rules that forbid running it, in the order of the source; at most [`MAX_FINDINGS`].
    pub violations: Vec<CodeFinding>,
    /// What looks dangerous, or fails in a sandbox, and is not forbidden; likewise.
    pub warnings: Vec<CodeFinding>,
    /// The modules it imports, each once, in the order of the source; likewise.
    pub imports: Vec<ModuleImport>,
    /// Whether one of the lists was cut.
    pub truncated: bool,
}
