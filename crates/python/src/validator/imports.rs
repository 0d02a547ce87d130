//! What a program imports, and what the policy says of it.

use std::collections::{HashMap, HashSet};

use aevatar_sandbox_contract::{ImportDecision, ImportPolicy, MAX_FINDINGS, ModuleImport, ValidationRule};
use ruff_python_ast::{Expr, Stmt};
use ruff_python_stdlib::sys::is_known_standard_library;
use ruff_text_size::{Ranged, TextRange};

use super::{
    findings::{Findings, QUOTED, place},
    names::{Aliases, literal},
    optional::Optional,
    problem::shorten,
    source::Source,
    suggestions,
    walk::{Node, walk},
};

/// The imports of a program.
#[derive(Debug, Default)]
pub(super) struct Imports {
    pub(super) modules: Vec<ModuleImport>,
    pub(super) truncated: bool,
    pub(super) violations: Findings,
}

/// Collects the imports, and what `policy` forbids of them.
pub(super) fn collect(
    body: &[Stmt],
    source: &Source,
    aliases: &Aliases,
    minor: u8,
    policy: Option<&ImportPolicy>,
) -> Imports {
    let mut collector = Collector {
        source,
        minor,
        policy,
        optional: Optional::of(body, source.text()),
        seen: HashSet::new(),
        decided: HashMap::new(),
        found: Imports::default(),
    };
    walk(body, |node, _| match node {
        Node::Stmt(Stmt::Import(import)) => {
            for alias in &import.names {
                collector.module(alias.name.as_str(), alias.range());
            }
        }
        // A relative import is of the program's own package, and it has none.
        Node::Stmt(Stmt::ImportFrom(import)) if import.level == 0 => {
            if let Some(module) = &import.module
                && collector.module(module.as_str(), module.range()) == ImportDecision::Allowed
            {
                for alias in &import.names {
                    collector.member(module.as_str(), alias.name.as_str(), alias.range());
                }
            }
        }
        Node::Expr(Expr::Call(call)) => {
            if let Some("__import__" | "importlib.import_module" | "importlib.__import__") =
                aliases.path_of(&call.func).as_deref()
                && let Some(argument) = call.arguments.find_argument_value("name", 0)
                && let Some(module) = literal(argument)
                && !module.is_empty()
                && !module.starts_with('.')
            {
                collector.module_by(&module, argument.range(), true);
            }
        }
        _ => {}
    });
    collector.found
}

struct Collector<'a> {
    source: &'a Source,
    minor: u8,
    policy: Option<&'a ImportPolicy>,
    optional: Optional<'a>,
    seen: HashSet<String>,
    /// A policy is a list, and a program may import the same module a million times.
    decided: HashMap<String, ImportDecision>,
    found: Imports,
}

impl Collector<'_> {
    /// One import of a module by a statement.
    fn module(&mut self, module: &str, range: TextRange) -> ImportDecision {
        self.module_by(module, range, false)
    }

    /// One import of a module, by a call with its name in quotes or by a statement.
    fn module_by(&mut self, module: &str, range: TextRange, is_quoted: bool) -> ImportDecision {
        if !self.seen.contains(module) {
            if self.seen.len() < MAX_FINDINGS {
                self.seen.insert(module.to_owned());
                let position = place(self.source, &range);
                let module = shorten(module, QUOTED);
                self.found.modules.push(ModuleImport { module, line: position.line, column: position.column });
            } else {
                self.found.truncated = true;
            }
        }
        let decision = self.decide(module);
        let is_left_open = decision == ImportDecision::NotAllowed
            && (self.optional.is_conditional(range) || self.optional.is_brought(module, is_quoted));
        if !is_left_open {
            self.judge(module, range, decision);
        }
        decision
    }

    /// `from module import name`: a name may be a module too, but only if it is blocked is that for certain.
    fn member(&mut self, module: &str, name: &str, range: TextRange) {
        if name == "*" || self.policy.is_none_or(|policy| policy.blocked.is_empty()) {
            return;
        }
        let whole = format!("{module}.{name}");
        if self.decide(&whole) == ImportDecision::Blocked {
            self.judge(&whole, range, ImportDecision::Blocked);
        }
    }

    fn decide(&mut self, module: &str) -> ImportDecision {
        let Some(policy) = self.policy else { return ImportDecision::Allowed };
        if let Some(decision) = self.decided.get(module) {
            return *decision;
        }
        let decision = policy.decide(module, is_in_standard_library(self.minor, module));
        if self.decided.len() < 10 * MAX_FINDINGS {
            self.decided.insert(module.to_owned(), decision);
        }
        decision
    }

    fn judge(&mut self, module: &str, range: TextRange, decision: ImportDecision) {
        let Some(policy) = self.policy else { return };
        let shown = shorten(module, QUOTED);
        let (rule, message) = match decision {
            ImportDecision::Allowed => return,
            ImportDecision::Blocked => (ValidationRule::BlockedModule, format!("`{shown}` is blocked in this sandbox")),
            ImportDecision::NotAllowed => {
                (ValidationRule::ModuleNotAllowed, format!("`{shown}` is not allowed in this sandbox"))
            }
        };
        self.found.violations.add(self.source, rule, range, Some(module), || {
            let hint = match decision {
                ImportDecision::Blocked => suggestions::instead_of_blocked(module),
                _ => suggestions::instead_of_unknown(module, &policy.allowed),
            };
            (message, hint)
        });
    }
}

/// Whether a module belongs to Python itself; so does the program's own name, and `sandbox`, which every sandbox has.
/// ruff does not count `__future__`.
pub(super) fn is_in_standard_library(minor: u8, module: &str) -> bool {
    let first = module.split_once('.').map_or(module, |(first, _)| first);
    matches!(first, "__main__" | "__future__" | "sandbox") || is_known_standard_library(minor, first)
}
