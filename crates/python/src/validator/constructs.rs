//! Constructs that look dangerous. They are hints for whoever reads the result, not a defence: the kernel is that. So a
//! rule is better silent than wrong about an honest program.

use std::ops::ControlFlow;

use aevatar_sandbox_contract::ValidationRule;
use ruff_python_ast::{Expr, ExprCall, ExprContext, Stmt};
use ruff_text_size::{Ranged, TextRange};

use super::{
    findings::{Findings, QUOTED},
    names::{Aliases, literal},
    problem::shorten,
    source::Source,
    walk::{Node, walk, walk_from},
};

/// Expressions of one argument that are looked through for a decoder.
const MAX_LOOKED_THROUGH: usize = 200;

/// Functions that turn data into other data, and whose result nobody can read before.
const DECODERS: &[&str] = &[
    "base64.a85decode",
    "base64.b16decode",
    "base64.b32decode",
    "base64.b64decode",
    "base64.b85decode",
    "base64.decodebytes",
    "base64.standard_b64decode",
    "base64.urlsafe_b64decode",
    "binascii.a2b_base64",
    "binascii.a2b_hex",
    "binascii.unhexlify",
    "bytes.fromhex",
    "bz2.decompress",
    "codecs.decode",
    "gzip.decompress",
    "lzma.decompress",
    "marshal.loads",
    "zlib.decompress",
];

/// Functions that unpickle, or do what comes to the same.
const UNPICKLERS: &[&str] = &[
    "_pickle.Unpickler",
    "_pickle.load",
    "_pickle.loads",
    "cloudpickle.load",
    "cloudpickle.loads",
    "dill.load",
    "dill.loads",
    "joblib.load",
    "marshal.load",
    "marshal.loads",
    "pandas.read_pickle",
    "pickle.Unpickler",
    "pickle.load",
    "pickle.loads",
    "shelve.open",
];

/// Functions that always ask a shell.
const SHELLS: &[&str] = &["os.popen", "os.system", "pty.spawn", "subprocess.getoutput", "subprocess.getstatusoutput"];

/// Functions that run a command, with `shell=True` in a shell.
const COMMANDS: &[&str] =
    &["subprocess.Popen", "subprocess.call", "subprocess.check_call", "subprocess.check_output", "subprocess.run"];

/// Programs that are shells.
const SHELL_NAMES: &[&str] = &["sh", "bash", "dash", "zsh", "/bin/sh", "/bin/bash", "/usr/bin/sh", "/usr/bin/bash"];

/// Collects what looks dangerous. `aliases` learns which names hold decoded data.
pub(super) fn collect(body: &[Stmt], source: &Source, aliases: &mut Aliases) -> Findings {
    let mut decoded = Vec::new();
    walk(body, |node, _| {
        if let Node::Stmt(Stmt::Assign(assign)) = node
            && let [Expr::Name(target)] = assign.targets.as_slice()
            && is_decoded(&assign.value, aliases)
        {
            decoded.push(target.id.to_string());
        }
    });
    for name in &decoded {
        aliases.decoded(name);
    }
    let mut collector = Collector { source, aliases, found: Findings::default(), reported: None };
    walk(body, |node, _| match node {
        Node::Expr(Expr::Call(call)) => collector.call(call),
        Node::Expr(expr @ Expr::Attribute(attribute)) if attribute.ctx == ExprContext::Load => {
            collector.attribute(expr, attribute.attr.as_str(), &attribute.value);
        }
        _ => {}
    });
    collector.found
}

struct Collector<'a> {
    source: &'a Source,
    aliases: &'a Aliases,
    found: Findings,
    /// What is within the last construct that was reported is part of it.
    reported: Option<TextRange>,
}

impl Collector<'_> {
    fn add(&mut self, rule: ValidationRule, range: TextRange, message: String, hint: &str) {
        self.reported = Some(range);
        self.found.add(self.source, rule, range, None, || (message, hint.to_owned()));
    }

    fn is_reported(&self, range: TextRange) -> bool {
        self.reported.is_some_and(|reported| reported.contains_range(range))
    }

    fn call(&mut self, call: &ExprCall) {
        let Some(path) = self.aliases.path_of(&call.func) else { return };
        let path = path.as_ref();
        let range = call.range();
        match path {
            "eval" | "exec" | "compile" => self.code(path, call),
            "__import__" | "importlib.import_module" | "importlib.__import__" => self.import(path, call),
            "getattr" => self.getattr(call),
            _ if UNPICKLERS.contains(&path) => self.unpickle(path, call),
            _ if SHELLS.contains(&path) => self.shell(path, range),
            _ if COMMANDS.contains(&path) && asks_shell(call) => self.shell(path, range),
            _ => {}
        }
    }

    fn code(&mut self, name: &str, call: &ExprCall) {
        let Some(argument) = call.arguments.find_positional(0) else { return };
        let range = call.range();
        if self.is_reported(range) || is_constant(argument) {
            return;
        }
        if is_decoded(argument, self.aliases) {
            let message = format!("`{name}` runs code that was encoded or compressed");
            self.add(ValidationRule::DecodedCode, range, message, "write the code itself into the program");
        } else if name != "compile" || !is_tree(argument, self.aliases) {
            let message = format!("`{name}` runs code that is put together while the program runs");
            let hint = "call functions directly; for data use `ast.literal_eval` or `json.loads`";
            self.add(ValidationRule::DynamicCode, range, message, hint);
        }
    }

    fn import(&mut self, name: &str, call: &ExprCall) {
        let Some(argument) = call.arguments.find_argument_value("name", 0) else { return };
        if literal(argument).is_none() {
            let message = format!("`{name}` imports a module whose name is computed");
            let hint = "write `import name`: what is not allowed fails only when the program runs";
            self.add(ValidationRule::ComputedImport, call.range(), message, hint);
        }
    }

    fn getattr(&mut self, call: &ExprCall) {
        let name = call.arguments.find_positional(1).and_then(literal);
        if let Some(name) = name
            && matches!(name.as_ref(), "__subclasses__" | "__globals__" | "__builtins__" | "__bases__" | "__mro__")
        {
            self.dunder(call.range(), &name);
        }
    }

    fn attribute(&mut self, expr: &Expr, name: &str, value: &Expr) {
        if self.is_reported(expr.range()) {
            return;
        }
        let owner = dunder_of(value);
        let is_walk = match name {
            "__subclasses__" => {
                matches!(owner, Some("__base__" | "__bases__" | "__mro__"))
                    || (owner == Some("__class__") && is_literal_class(value))
                    || self.aliases.path_of(value).as_deref() == Some("object")
            }
            "__globals__" => owner.is_some_and(|owner| owner != "__wrapped__"),
            "__builtins__" => matches!(value, Expr::Attribute(_) | Expr::Subscript(_) | Expr::Call(_)),
            // Of a literal: a class that has a name could be named.
            "__base__" | "__bases__" | "__mro__" => owner == Some("__class__") && is_literal_class(value),
            _ => false,
        };
        if is_walk {
            self.dunder(expr.range(), name);
        }
    }

    fn dunder(&mut self, range: TextRange, name: &str) {
        let message = format!("`{}` leads to the insides of the interpreter", shorten(name, QUOTED));
        let hint = "use the classes and functions by their names";
        self.add(ValidationRule::DunderWalk, range, message, hint);
    }

    fn unpickle(&mut self, path: &str, call: &ExprCall) {
        // A copy of the program's own data by pickling and unpickling is no loading.
        if let Some(Expr::Call(inner)) = call.arguments.find_positional(0)
            && let Some(maker) = self.aliases.path_of(&inner.func)
            && maker.strip_suffix("dumps").is_some()
        {
            return;
        }
        if self.is_reported(call.range()) {
            return;
        }
        let message = format!("`{path}` runs code of whoever made the data");
        let hint = "keep data as JSON, CSV, or with `numpy.save`";
        self.add(ValidationRule::UnsafeDeserialization, call.range(), message, hint);
    }

    fn shell(&mut self, path: &str, range: TextRange) {
        let message = format!("`{path}` starts a shell");
        let hint = "there is no shell in the sandbox: use the standard library, or `sys.executable` for another Python";
        self.add(ValidationRule::ShellCommand, range, message, hint);
    }
}

/// Whether a call of `subprocess` asks for a shell, or names one.
fn asks_shell(call: &ExprCall) -> bool {
    let shell = call.arguments.find_keyword("shell").map(|keyword| &keyword.value);
    if let Some(Expr::BooleanLiteral(value)) = shell {
        return value.value;
    }
    let Some(Expr::List(command)) = call.arguments.find_argument_value("args", 0) else { return false };
    let first = command.elts.first().and_then(literal);
    first.is_some_and(|first| SHELL_NAMES.contains(&first.as_ref()))
}

/// Whether everything in an expression is written in the program: text, and numbers, and what is put together of them.
fn is_constant(expr: &Expr) -> bool {
    walk_from(expr, |node| match node {
        Node::Expr(
            Expr::StringLiteral(_) | Expr::BytesLiteral(_) | Expr::NumberLiteral(_) | Expr::FString(_) | Expr::BinOp(_),
        ) => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    })
    .is_continue()
}

/// Whether an expression is a syntax tree, which `compile` takes too: it was parsed, and could be read.
fn is_tree(expr: &Expr, aliases: &Aliases) -> bool {
    let Expr::Call(call) = expr else { return false };
    aliases.path_of(&call.func).is_some_and(|path| path.starts_with("ast."))
}

/// Whether an expression holds decoded data.
fn is_decoded(expr: &Expr, aliases: &Aliases) -> bool {
    let mut looked_at = 0;
    let found = walk_from(expr, |node| {
        looked_at += 1;
        let is_decoder = match node {
            Node::Expr(Expr::Call(call)) => {
                let path = aliases.path_of(&call.func);
                path.is_some_and(|path| DECODERS.contains(&path.as_ref()))
            }
            Node::Expr(Expr::Name(name)) => aliases.is_decoded(name.id.as_str()),
            _ => false,
        };
        if is_decoder {
            ControlFlow::Break(true)
        } else if looked_at > MAX_LOOKED_THROUGH {
            ControlFlow::Break(false)
        } else {
            ControlFlow::Continue(())
        }
    });
    found == ControlFlow::Break(true)
}

/// The dunder attribute that an expression ends with, calls and subscripts left aside: `__mro__` of `x.__mro__[1]`.
fn dunder_of(mut expr: &Expr) -> Option<&str> {
    loop {
        match expr {
            Expr::Call(call) => expr = &call.func,
            Expr::Subscript(subscript) => expr = &subscript.value,
            Expr::Attribute(attribute) => {
                let name = attribute.attr.as_str();
                return (name.starts_with("__") && name.ends_with("__")).then_some(name);
            }
            _ => return None,
        }
    }
}

/// `().__class__`, `"".__class__`: nobody needs the class of a literal in this way.
fn is_literal_class(expr: &Expr) -> bool {
    let Expr::Attribute(attribute) = expr else { return false };
    attribute.attr.as_str() == "__class__"
        && matches!(
            attribute.value.as_ref(),
            Expr::StringLiteral(_)
                | Expr::BytesLiteral(_)
                | Expr::NumberLiteral(_)
                | Expr::Tuple(_)
                | Expr::List(_)
                | Expr::Dict(_)
                | Expr::Set(_)
                | Expr::NoneLiteral(_)
                | Expr::BooleanLiteral(_)
        )
}
