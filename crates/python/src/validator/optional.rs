//! Imports that a program may do without, or brings itself.
//!
//! A module that is not available fails where it is imported, as it does everywhere. Whether a program comes to that
//! import, is prepared for its failure, or makes the module before it, shows when it runs; the policy is there, too.

use std::collections::HashMap;

use ruff_python_ast::Stmt;
use ruff_text_size::{Ranged, TextRange};

use super::walk::{Node, walk};

/// Modules that are looked for in the text; each costs a few searches.
const MAX_SEARCHES: usize = 100;

/// What of a program's imports cannot be judged by its text.
#[derive(Debug, Default)]
pub(super) struct Optional<'a> {
    text: &'a str,
    /// Statements that decide whether something runs, or catch what fails: starts in order, each with the latest end of
    /// all up to it.
    conditions: Vec<(u32, u32)>,
    brought: HashMap<String, Signs>,
}

/// Where a program names a module outside of imports.
#[derive(Clone, Copy, Debug)]
struct Signs {
    file: bool,
    quoted: bool,
}

impl<'a> Optional<'a> {
    pub(super) fn of(body: &[Stmt], text: &'a str) -> Self {
        let mut conditions = Vec::new();
        walk(body, |node, _| {
            if let Node::Stmt(stmt @ (Stmt::Try(_) | Stmt::If(_) | Stmt::With(_) | Stmt::Match(_))) = node {
                conditions.push((stmt.range().start().into(), stmt.range().end().into()));
            }
        });
        conditions.sort_unstable();
        let mut latest = 0;
        for (_, end) in &mut conditions {
            latest = latest.max(*end);
            *end = latest;
        }
        Self { text, conditions, brought: HashMap::new() }
    }

    /// Whether the import at `range` may not be come to, or may fail without harm.
    pub(super) fn is_conditional(&self, range: TextRange) -> bool {
        let at = u32::from(range.start());
        let before = self.conditions.partition_point(|(start, _)| *start <= at);
        before.checked_sub(1).and_then(|last| self.conditions.get(last)).is_some_and(|(_, end)| at < *end)
    }

    /// Whether the program names a file that `module` would come from, or, beside the import itself, the module in
    /// quotes: it may make it.
    pub(super) fn is_brought(&mut self, module: &str, is_quoted_itself: bool) -> bool {
        let first = module.split_once('.').map_or(module, |(first, _)| first);
        let signs = match self.brought.get(first) {
            Some(known) => *known,
            None if self.brought.len() >= MAX_SEARCHES => return false,
            None => {
                let contains = |signs: [String; 2]| signs.iter().any(|sign| self.text.contains(sign.as_str()));
                let signs = Signs {
                    file: contains([format!("{first}.py"), format!("{first}/")]),
                    quoted: contains([format!("'{first}'"), format!("\"{first}\"")]),
                };
                self.brought.insert(first.to_owned(), signs);
                signs
            }
        };
        signs.file || signs.quoted && !is_quoted_itself
    }
}
