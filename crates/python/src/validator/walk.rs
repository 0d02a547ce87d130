//! Walks over a syntax tree without recursion: a tree may be as deep as its text is long.

use std::{cell::RefCell, ops::ControlFlow};

use ruff_python_ast::{
    AtomicNodeIndex, ElifElseClause, Expr, ExprNoneLiteral, Pattern, PatternMatchSingleton, Singleton, Stmt, StmtPass,
    Suite,
    visitor::{
        Visitor, transformer, transformer::Transformer, walk_elif_else_clause, walk_expr, walk_pattern, walk_stmt,
    },
};
use ruff_text_size::TextRange;

/// A node that others can be below.
#[derive(Clone, Copy, Debug)]
pub(super) enum Node<'a> {
    Stmt(&'a Stmt),
    Expr(&'a Expr),
    Pattern(&'a Pattern),
}

/// Calls `visit` with every statement, expression and pattern and its depth as CPython counts it, parents first, else
/// about in the order of the source.
pub(super) fn walk<'a>(body: &'a [Stmt], mut visit: impl FnMut(Node<'a>, usize)) {
    let mut waiting: Vec<(Node<'a>, usize)> = body.iter().rev().map(|stmt| (Node::Stmt(stmt), 1)).collect();
    while let Some((node, depth)) = waiting.pop() {
        visit(node, depth);
        descend(node, depth, &mut waiting);
    }
}

/// The same from one expression, until `visit` has seen enough.
pub(super) fn walk_from<'a, B>(expr: &'a Expr, mut visit: impl FnMut(Node<'a>) -> ControlFlow<B>) -> ControlFlow<B> {
    let mut waiting = vec![(Node::Expr(expr), 1)];
    while let Some((node, depth)) = waiting.pop() {
        visit(node)?;
        descend(node, depth, &mut waiting);
    }
    ControlFlow::Continue(())
}

fn descend<'a>(node: Node<'a>, depth: usize, waiting: &mut Vec<(Node<'a>, usize)>) {
    let known = waiting.len();
    let mut children = Children { waiting, depth: depth + 1 };
    match node {
        Node::Stmt(stmt) => walk_stmt(&mut children, stmt),
        Node::Expr(expr) => walk_expr(&mut children, expr),
        Node::Pattern(pattern) => walk_pattern(&mut children, pattern),
    }
    if let Some(added) = waiting.get_mut(known..) {
        added.reverse();
    }
}

struct Children<'w, 'a> {
    waiting: &'w mut Vec<(Node<'a>, usize)>,
    depth: usize,
}

impl<'a> Visitor<'a> for Children<'_, 'a> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        self.waiting.push((Node::Stmt(stmt), self.depth));
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        self.waiting.push((Node::Expr(expr), self.depth));
    }

    fn visit_pattern(&mut self, pattern: &'a Pattern) {
        self.waiting.push((Node::Pattern(pattern), self.depth));
    }

    fn visit_elif_else_clause(&mut self, clause: &'a ElifElseClause) {
        // CPython's `elif` is an `if` within the `else` before it.
        self.depth += 1;
        walk_elif_else_clause(self, clause);
    }
}

/// Takes a tree apart piece by piece: dropping a deep one as a whole overflows the stack.
pub(super) fn dismantle(body: Suite) {
    let pieces = Pieces::default();
    pieces.stmts.borrow_mut().extend(body);
    loop {
        let stmt = pieces.stmts.borrow_mut().pop();
        let expr = pieces.exprs.borrow_mut().pop();
        let pattern = pieces.patterns.borrow_mut().pop();
        if stmt.is_none() && expr.is_none() && pattern.is_none() {
            return;
        }
        if let Some(mut stmt) = stmt {
            transformer::walk_stmt(&pieces, &mut stmt);
        }
        if let Some(mut expr) = expr {
            transformer::walk_expr(&pieces, &mut expr);
        }
        if let Some(mut pattern) = pattern {
            transformer::walk_pattern(&pieces, &mut pattern);
        }
    }
}

#[derive(Default)]
struct Pieces {
    stmts: RefCell<Vec<Stmt>>,
    exprs: RefCell<Vec<Expr>>,
    patterns: RefCell<Vec<Pattern>>,
}

impl Transformer for Pieces {
    fn visit_stmt(&self, stmt: &mut Stmt) {
        let nothing = StmtPass { node_index: AtomicNodeIndex::NONE, range: TextRange::default() };
        self.stmts.borrow_mut().push(std::mem::replace(stmt, Stmt::Pass(nothing)));
    }

    fn visit_expr(&self, expr: &mut Expr) {
        let nothing = ExprNoneLiteral { node_index: AtomicNodeIndex::NONE, range: TextRange::default() };
        self.exprs.borrow_mut().push(std::mem::replace(expr, Expr::NoneLiteral(nothing)));
    }

    fn visit_pattern(&self, pattern: &mut Pattern) {
        let nothing = PatternMatchSingleton {
            node_index: AtomicNodeIndex::NONE,
            range: TextRange::default(),
            value: Singleton::None,
        };
        self.patterns.borrow_mut().push(std::mem::replace(pattern, Pattern::MatchSingleton(nothing)));
    }
}
