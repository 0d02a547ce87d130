//! Lists of a report, none longer than it may be.

use aevatar_sandbox_contract::{CodeFinding, MAX_FINDINGS, ValidationRule};
use ruff_text_size::{Ranged, TextRange};

use super::{
    problem::shorten,
    source::{Position, Source},
};

/// Characters of a name that a finding quotes.
pub(super) const QUOTED: usize = 100;

/// Findings in the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<(usize, CodeFinding)>,
    pub(super) truncated: bool,
}

impl Findings {
    /// Adds one; `words` is asked for message and hint only when there is room.
    pub(super) fn add(
        &mut self,
        source: &Source,
        rule: ValidationRule,
        range: TextRange,
        module: Option<&str>,
        words: impl FnOnce() -> (String, String),
    ) {
        if self.list.len() >= MAX_FINDINGS {
            self.truncated = true;
            return;
        }
        let Position { line, column } = source.position(range.start().to_usize());
        let (message, hint) = words();
        let module = module.map(|module| shorten(module, QUOTED));
        self.list.push((range.start().to_usize(), CodeFinding { rule, message, line, column, module, hint }));
    }

    /// Both together, in the order of the source.
    pub(super) fn merge(self, other: Self) -> (Vec<CodeFinding>, bool) {
        let mut list = self.list;
        list.extend(other.list);
        list.sort_by_key(|(start, _)| *start);
        let truncated = self.truncated || other.truncated || list.len() > MAX_FINDINGS;
        (list.into_iter().map(|(_, finding)| finding).take(MAX_FINDINGS).collect(), truncated)
    }
}

/// The start of something as a place.
pub(super) fn place(source: &Source, node: &impl Ranged) -> Position {
    source.position(node.start().to_usize())
}
