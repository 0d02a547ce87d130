//! Which thing of which module a name stands for, as far as imports tell.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use ruff_python_ast::{Expr, ExprCall, ExprContext, Stmt};

use super::walk::{Node, walk};

/// Attributes of one path that are looked at: a longer one is nothing that is looked for.
const MAX_PARTS: usize = 8;

/// What names of a program stand for. It knows no scopes: the last import of a name counts everywhere.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    imported: HashMap<String, String>,
    /// Names that the program gives a meaning of its own.
    bound: HashSet<String>,
    /// Names that are bound to something that was decoded.
    decoded: HashSet<String>,
}

impl Aliases {
    /// Reads the imports and the bindings of a program.
    pub(super) fn of(body: &[Stmt]) -> Self {
        let mut aliases = Self::default();
        walk(body, |node, _| match node {
            Node::Stmt(Stmt::Import(import)) => {
                for alias in &import.names {
                    let whole = alias.name.as_str();
                    let first = whole.split_once('.').map_or(whole, |(first, _)| first);
                    let (name, path) = alias.asname.as_ref().map_or((first, first), |name| (name.as_str(), whole));
                    aliases.import(name, path.to_owned());
                }
            }
            Node::Stmt(Stmt::ImportFrom(import)) if import.level == 0 => {
                let module = import.module.as_ref().map_or("", |module| module.as_str());
                for alias in &import.names {
                    let name = alias.asname.as_ref().unwrap_or(&alias.name).as_str();
                    aliases.import(name, format!("{module}.{}", alias.name.as_str()));
                }
            }
            Node::Stmt(Stmt::FunctionDef(function)) => {
                aliases.bind(function.name.as_str());
                for parameter in &*function.parameters {
                    aliases.bind(parameter.name().as_str());
                }
            }
            Node::Stmt(Stmt::ClassDef(class)) => aliases.bind(class.name.as_str()),
            Node::Expr(Expr::Lambda(lambda)) => {
                for parameter in lambda.parameters.iter().flat_map(|parameters| parameters.iter()) {
                    aliases.bind(parameter.name().as_str());
                }
            }
            Node::Expr(Expr::Name(name)) if name.ctx == ExprContext::Store => aliases.bind(name.id.as_str()),
            _ => {}
        });
        aliases
    }

    fn import(&mut self, name: &str, path: String) {
        if name.len() <= 100 && path.len() <= 200 {
            self.imported.insert(name.to_owned(), path);
        }
    }

    fn bind(&mut self, name: &str) {
        // Only names that could hide a function that is looked for matter.
        if matches!(name, "eval" | "exec" | "compile" | "__import__" | "getattr" | "object") {
            self.bound.insert(name.to_owned());
        }
    }

    pub(super) fn decoded(&mut self, name: &str) {
        self.decoded.insert(name.to_owned());
    }

    pub(super) fn is_decoded(&self, name: &str) -> bool {
        self.decoded.contains(name)
    }

    /// The module that a call returns: `__import__("base64")`.
    fn imported_by(&self, call: &ExprCall) -> Option<String> {
        let Expr::Name(function) = call.func.as_ref() else { return None };
        if function.id.as_str() != "__import__" || self.bound.contains("__import__") {
            return None;
        }
        literal(call.arguments.find_argument_value("name", 0)?).map(Cow::into_owned).filter(|name| name.len() <= 100)
    }

    /// The path that an expression stands for: `pickle.loads`, or `eval`. Nothing when it is no path.
    pub(super) fn path_of<'e>(&self, expr: &'e Expr) -> Option<Cow<'e, str>> {
        let mut attributes = Vec::new();
        let mut inner = expr;
        loop {
            match inner {
                Expr::Attribute(attribute) if attributes.len() < MAX_PARTS => {
                    attributes.push(attribute.attr.as_str());
                    inner = attribute.value.as_ref();
                }
                Expr::Name(name) => {
                    let name = name.id.as_str();
                    let first = match self.imported.get(name) {
                        Some(path) => Cow::Owned(path.clone()),
                        None if attributes.is_empty() && !self.bound.contains(name) => Cow::Borrowed(name),
                        None if name == "__builtins__" || name == "bytes" => Cow::Borrowed(name),
                        None => return None,
                    };
                    if attributes.is_empty() {
                        return Some(without_builtins(first));
                    }
                    return Some(without_builtins(Cow::Owned(joined(first.into_owned(), &attributes))));
                }
                Expr::Call(call) => return Some(Cow::Owned(joined(self.imported_by(call)?, &attributes))),
                _ => return None,
            }
        }
    }
}

/// `path` with attributes, the last one first.
fn joined(mut path: String, attributes: &[&str]) -> String {
    for attribute in attributes.iter().rev() {
        path.push('.');
        path.push_str(attribute);
    }
    path
}

fn without_builtins(path: Cow<'_, str>) -> Cow<'_, str> {
    match path.strip_prefix("builtins.") {
        Some(name) => Cow::Owned(name.to_owned()),
        None => path,
    }
}

/// The text of a string literal.
pub(super) fn literal(expr: &Expr) -> Option<Cow<'_, str>> {
    let Expr::StringLiteral(string) = expr else { return None };
    Some(Cow::Borrowed(string.value.to_str()))
}
