//! Imports that a program does not depend on, or brings itself.
//!
//! A module that is not available fails where it is imported, as it does everywhere. A program that is prepared for
//! that, or that writes the module before it imports it, is an honest one.

use std::collections::HashMap;

use ruff_python_ast::{ExceptHandler, Expr, Stmt, StmtIf, StmtTry};
use ruff_text_size::{Ranged, TextRange};

use super::walk::{Node, walk};

/// Names of exceptions that stand for a failed import.
const CAUGHT: [&str; 4] = ["ImportError", "ModuleNotFoundError", "Exception", "BaseException"];
/// Modules that are looked for in the text; each costs a search.
const MAX_SEARCHES: usize = 100;

/// What a program is prepared to do without.
#[derive(Debug, Default)]
pub(super) struct Optional<'a> {
    text: &'a str,
    /// Where failed imports are caught or never tried: starts in order, each with the latest end of all up to it.
    guarded: Vec<(u32, u32)>,
    brought: HashMap<String, bool>,
}

impl<'a> Optional<'a> {
    pub(super) fn of(body: &[Stmt], text: &'a str) -> Self {
        let mut ranges = Vec::new();
        walk(body, |node, _| match node {
            Node::Stmt(Stmt::Try(guard)) if catches_failed_imports(guard) => ranges.extend(span(&guard.body)),
            Node::Stmt(Stmt::If(branch)) if is_for_type_checkers(branch) => ranges.extend(span(&branch.body)),
            _ => {}
        });
        ranges.sort_unstable();
        let mut latest = 0;
        for (_, end) in &mut ranges {
            latest = latest.max(*end);
            *end = latest;
        }
        Self { text, guarded: ranges, brought: HashMap::new() }
    }

    /// Whether the program goes on when the import at `range` fails.
    pub(super) fn is_guarded(&self, range: TextRange) -> bool {
        let at = u32::from(range.start());
        let before = self.guarded.partition_point(|(start, _)| *start <= at);
        before.checked_sub(1).and_then(|last| self.guarded.get(last)).is_some_and(|(_, end)| at < *end)
    }

    /// Whether the program names a file that `module` would come from: it may write it.
    pub(super) fn is_brought(&mut self, module: &str) -> bool {
        let first = module.split_once('.').map_or(module, |(first, _)| first);
        if let Some(known) = self.brought.get(first) {
            return *known;
        }
        if self.brought.len() >= MAX_SEARCHES {
            return false;
        }
        let brought = [".py", "/"].iter().any(|ending| self.text.contains(&format!("{first}{ending}")));
        self.brought.insert(first.to_owned(), brought);
        brought
    }
}

fn span(body: &[Stmt]) -> Option<(u32, u32)> {
    Some((body.first()?.range().start().into(), body.last()?.range().end().into()))
}

fn catches_failed_imports(guard: &StmtTry) -> bool {
    guard.handlers.iter().any(|ExceptHandler::ExceptHandler(handler)| match handler.type_.as_deref() {
        None => true,
        Some(Expr::Tuple(tuple)) => tuple.elts.iter().any(is_import_error),
        Some(kind) => is_import_error(kind),
    })
}

fn is_import_error(kind: &Expr) -> bool {
    matches!(kind, Expr::Name(name) if CAUGHT.contains(&name.id.as_str()))
}

fn is_for_type_checkers(branch: &StmtIf) -> bool {
    match &*branch.test {
        Expr::Name(name) => name.id.as_str() == "TYPE_CHECKING",
        Expr::Attribute(attribute) => attribute.attr.as_str() == "TYPE_CHECKING",
        _ => false,
    }
}
