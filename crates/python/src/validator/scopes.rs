//! What CPython finds wrong after parsing: in its symbol table and in its compiler.
//!
//! Most of it is ruff's `SemanticSyntaxChecker`, which must be told where it is. Here are the scopes, and what it does
//! not check. The rule is: nothing that CPython accepts may be refused; what is missed fails when the program starts.

use std::{cell::RefCell, collections::HashMap};

use ruff_python_ast::{
    Comprehension, ConversionFlag, ElifElseClause, ExceptHandler, Expr, ExprContext, InterpolatedStringElement,
    Parameters, Pattern, PythonVersion, Stmt, TypeParam, TypeParams,
    visitor::{Visitor, walk_comprehension, walk_except_handler, walk_expr, walk_pattern, walk_stmt, walk_type_param},
};
use ruff_python_parser::semantic_errors::{
    LazyImportContext, SemanticSyntaxChecker, SemanticSyntaxContext, SemanticSyntaxError, SemanticSyntaxErrorKind,
};
use ruff_text_size::{Ranged, TextRange};

use super::problem::Problem;

/// Clauses and parameters up to which ruff's checks are used that take quadratic time.
const MAX_QUADRATIC: usize = 200;
/// Functions within functions, and comprehensions within comprehensions, likewise: each is read once more.
const MAX_REREAD: usize = 12;
/// Loops, `with` and `try` within each other: `CO_MAXBLOCKS`.
const MAX_BLOCKS: usize = 20;

/// When CPython would notice: what an earlier phase refuses no later one sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Parser,
    Future,
    Symbols,
    Bindings,
    Compiler,
}

/// The first thing that CPython refuses, if any. `body` must not be deeper than the stack has room for.
pub(super) fn check(body: &[Stmt], text: &str, version: PythonVersion) -> Option<Problem> {
    let mut checker = Checker {
        place: Place {
            text,
            version,
            scopes: vec![Scope::new(Kind::Module)],
            annotations: false,
            found: RefCell::default(),
        },
        semantic: Some(SemanticSyntaxChecker::new()),
        comprehensions: 0,
        functions: 0,
        specifications: 0,
    };
    checker.visit_body(body);
    checker.leave();
    let mut found = checker.place.found.into_inner();
    found.sort_by_key(|(phase, problem)| (*phase, problem.start));
    found.into_iter().next().map(|(_, problem)| problem)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Module,
    Class,
    Function { is_async: bool },
    Lambda,
    Comprehension,
    Generator,
    TypeParameters,
}

impl Kind {
    const fn is_comprehension(self) -> bool {
        matches!(self, Self::Comprehension | Self::Generator)
    }
}

/// How a scope knows a name: the flags of CPython's symbol table.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "CPython keeps them as flags, and any may go together")]
struct Symbol {
    used: bool,
    bound: bool,
    /// By an import only, after which CPython still lets a name be declared global.
    imported: bool,
    parameter: bool,
    global: bool,
    nonlocal: bool,
    annotated: bool,
}

#[derive(Debug)]
struct Scope<'a> {
    kind: Kind,
    symbols: HashMap<&'a str, Symbol>,
    /// Names that this scope or one within declares `nonlocal`, and that no scope so far has bound.
    wanted: Vec<(&'a str, TextRange)>,
    loops: usize,
    blocks: usize,
    /// Within the handler of an `except*`, and not in a loop that is within it too.
    in_except_star: bool,
}

impl Scope<'_> {
    fn new(kind: Kind) -> Self {
        Self { kind, symbols: HashMap::new(), wanted: Vec::new(), loops: 0, blocks: 0, in_except_star: false }
    }
}

/// Where the walk is: what ruff's checker asks.
struct Place<'a> {
    text: &'a str,
    version: PythonVersion,
    scopes: Vec<Scope<'a>>,
    /// `from __future__ import annotations`.
    annotations: bool,
    found: RefCell<Vec<(Phase, Problem)>>,
}

impl Place<'_> {
    fn kind(&self) -> Kind {
        self.scopes.last().map_or(Kind::Module, |scope| scope.kind)
    }

    fn refuse(&self, phase: Phase, message: impl Into<String>, range: TextRange) {
        let mut found = self.found.borrow_mut();
        // One of each phase is enough, but they do not come in order.
        if found.len() < 1_000 {
            found.push((phase, Problem::syntax(message, range.start().to_usize(), range.end().to_usize())));
        }
    }

    /// The nearest scope that is no comprehension.
    fn outside_comprehensions(&self) -> Kind {
        let mut kinds = self.scopes.iter().rev().map(|scope| scope.kind);
        kinds.find(|kind| !kind.is_comprehension()).unwrap_or(Kind::Module)
    }
}

impl SemanticSyntaxContext for Place<'_> {
    fn future_annotations_or_stub(&self) -> bool {
        self.annotations
    }

    fn lazy_import_context(&self) -> Option<LazyImportContext> {
        None
    }

    fn python_version(&self) -> PythonVersion {
        self.version
    }

    fn source(&self) -> &str {
        self.text
    }

    // The names are checked here, in the order in which CPython sees them.
    fn global(&self, _name: &str) -> Option<TextRange> {
        None
    }

    fn has_nonlocal_binding(&self, _name: &str) -> bool {
        true
    }

    fn is_bound_parameter(&self, _name: &str) -> bool {
        false
    }

    fn in_async_context(&self) -> bool {
        self.outside_comprehensions() == Kind::Function { is_async: true }
    }

    fn in_await_allowed_context(&self) -> bool {
        self.in_generator_context() || matches!(self.outside_comprehensions(), Kind::Function { .. } | Kind::Lambda)
    }

    fn in_yield_allowed_context(&self) -> bool {
        matches!(self.kind(), Kind::Function { .. } | Kind::Lambda)
    }

    fn in_sync_comprehension(&self) -> bool {
        false
    }

    fn in_class_body_comprehension(&self) -> bool {
        self.outside_comprehensions() == Kind::Class
    }

    fn in_module_scope(&self) -> bool {
        self.kind() == Kind::Module
    }

    fn in_function_scope(&self) -> bool {
        matches!(self.kind(), Kind::Function { .. })
    }

    fn in_generator_context(&self) -> bool {
        let comprehensions = self.scopes.iter().rev().take_while(|scope| scope.kind.is_comprehension());
        comprehensions.into_iter().any(|scope| scope.kind == Kind::Generator)
    }

    fn in_notebook(&self) -> bool {
        false
    }

    fn report_semantic_error(&self, error: SemanticSyntaxError) {
        use SemanticSyntaxErrorKind as Found;
        let phase = match error.kind {
            Found::LateFutureImport | Found::FutureFeatureNotDefined(_) => Phase::Future,
            Found::NamedExpressionInComprehensionIterable
            | Found::NamedExpressionInClassBodyComprehension
            | Found::ReboundComprehensionVariable
            | Found::DuplicateTypeParameter
            | Found::InvalidExpression(..)
            | Found::DuplicateParameter(_)
            | Found::NonlocalDeclarationAtModuleLevel
            | Found::NonModuleImportStar(_) => Phase::Symbols,
            Found::DuplicateKeywordArgument(_) | Found::TypeParameterDefaultOrder(_) => Phase::Parser,
            _ => Phase::Compiler,
        };
        self.refuse(phase, wording(&error), error.range);
    }

    fn in_loop_context(&self) -> bool {
        self.scopes.last().is_some_and(|scope| scope.loops > 0)
    }
}

/// CPython's words, where they are known.
fn wording(error: &SemanticSyntaxError) -> String {
    use SemanticSyntaxErrorKind as Found;
    match &error.kind {
        Found::LateFutureImport => "from __future__ imports must occur at the beginning of the file".to_owned(),
        Found::FutureFeatureNotDefined(name) if name == "braces" => "not a chance".to_owned(),
        Found::FutureFeatureNotDefined(name) => format!("future feature {name} is not defined"),
        Found::ReturnOutsideFunction => "'return' outside function".to_owned(),
        Found::YieldOutsideFunction(kind) => format!("'{kind}' outside function"),
        Found::AwaitOutsideAsyncFunction(kind) => {
            let name = kind.to_string().replace('`', "'");
            format!("{name} outside async function")
        }
        Found::BreakOutsideLoop => "'break' outside loop".to_owned(),
        Found::ContinueOutsideLoop => "'continue' not properly in loop".to_owned(),
        Found::DuplicateParameter(name) => format!("duplicate argument '{name}' in function definition"),
        Found::DuplicateKeywordArgument(name) => format!("keyword argument repeated: {name}"),
        Found::NonModuleImportStar(_) => "import * only allowed at module level".to_owned(),
        Found::WriteToDebug(_) => "cannot assign to __debug__".to_owned(),
        Found::InvalidStarExpression => "can't use starred expression here".to_owned(),
        Found::MultipleStarredExpressions => "multiple starred expressions in assignment".to_owned(),
        Found::YieldFromInAsyncFunction => "'yield from' inside async function".to_owned(),
        Found::ReturnInGenerator => "'return' with value in async generator".to_owned(),
        Found::MultipleCaseAssignment(name) => format!("multiple assignments to name '{name}' in pattern"),
        Found::DuplicateMatchClassAttribute(name) => format!("attribute name repeated in class pattern: {name}"),
        _ => error.to_string().replace('`', "'"),
    }
}

struct Checker<'a> {
    place: Place<'a>,
    /// Nothing while a check of it is being skipped would be wrong: it remembers where `__future__` may stand.
    semantic: Option<SemanticSyntaxChecker>,
    comprehensions: usize,
    functions: usize,
    /// Format specifications that the walk is in.
    specifications: usize,
}

impl<'a> Checker<'a> {
    fn enter(&mut self, kind: Kind) {
        self.place.scopes.push(Scope::new(kind));
    }

    /// Ends a scope: now it is known what it binds, so what functions within wanted can be found.
    fn leave(&mut self) {
        let Some(scope) = self.place.scopes.pop() else { return };
        for (name, range) in scope.wanted {
            let symbol = scope.symbols.get(name).copied().unwrap_or_default();
            let is_function = matches!(scope.kind, Kind::Function { .. } | Kind::Lambda);
            if scope.kind == Kind::TypeParameters && symbol.bound {
                let message = format!("nonlocal binding not allowed for type parameter '{name}'");
                self.place.refuse(Phase::Bindings, message, range);
            } else if (is_function && (symbol.bound || symbol.imported) && !symbol.global && !symbol.nonlocal)
                || (scope.kind == Kind::Class && name == "__class__")
            {
                // Found.
            } else if let (false, Some(outer)) = (is_function && symbol.global, self.place.scopes.last_mut()) {
                outer.wanted.push((name, range));
            } else {
                let message = format!("no binding for nonlocal '{name}' found");
                self.place.refuse(Phase::Bindings, message, range);
            }
        }
    }

    fn symbol(&mut self, name: &'a str) -> Option<&mut Symbol> {
        self.place.scopes.last_mut().map(|scope| scope.symbols.entry(name).or_default())
    }

    fn bind(&mut self, name: &'a str) {
        if let Some(symbol) = self.symbol(name) {
            symbol.bound = true;
        }
    }

    fn import(&mut self, name: &'a str) {
        if let Some(symbol) = self.symbol(name) {
            symbol.imported = true;
        }
    }

    fn declare(&mut self, name: &'a str, range: TextRange, is_global: bool) {
        let word = if is_global { "global" } else { "nonlocal" };
        let is_module = self.place.kind() == Kind::Module;
        let Some(symbol) = self.symbol(name) else { return };
        let before = *symbol;
        if is_global {
            symbol.global = true;
        } else {
            symbol.nonlocal = true;
        }
        let message = if before.parameter {
            Some(format!("name '{name}' is parameter and {word}"))
        } else if before.used {
            Some(format!("name '{name}' is used prior to {word} declaration"))
        } else if before.annotated {
            Some(format!("annotated name '{name}' can't be {word}"))
        } else if before.bound {
            Some(format!("name '{name}' is assigned to before {word} declaration"))
        } else {
            None
        };
        if let Some(message) = message {
            self.place.refuse(Phase::Symbols, message, range);
        } else if (is_global && before.nonlocal) || (!is_global && before.global) {
            self.place.refuse(Phase::Bindings, format!("name '{name}' is nonlocal and global"), range);
        } else if !is_global && !is_module && !before.nonlocal {
            // Looked for from the next scope on: in its own it is not bound.
            let outer = self.place.scopes.len().checked_sub(2);
            if let Some(scope) = outer.and_then(|outer| self.place.scopes.get_mut(outer)) {
                scope.wanted.push((name, range));
            }
        }
    }

    fn parameters_of(&mut self, parameters: &'a Parameters) {
        for parameter in parameters {
            if let Some(symbol) = self.symbol(parameter.name().as_str()) {
                symbol.bound = true;
                symbol.parameter = true;
            }
        }
    }

    fn defaults_of(&mut self, parameters: &'a Parameters) {
        for default in parameters.iter_non_variadic_params().filter_map(|parameter| parameter.default.as_deref()) {
            self.visit_expr(default);
        }
    }

    fn annotations_of(&mut self, parameters: &'a Parameters, returns: Option<&'a Expr>) {
        for annotation in parameters.iter().filter_map(ruff_python_ast::AnyParameterRef::annotation) {
            self.visit_annotation(annotation);
        }
        if let Some(returns) = returns {
            self.visit_annotation(returns);
        }
    }

    fn enter_type_parameters(&mut self, parameters: Option<&'a TypeParams>) -> bool {
        let Some(parameters) = parameters else { return false };
        self.enter(Kind::TypeParameters);
        for parameter in &parameters.type_params {
            self.bind(parameter.name().as_str());
        }
        self.visit_type_params(parameters);
        true
    }

    fn function(&mut self, function: &'a ruff_python_ast::StmtFunctionDef) {
        self.bind(function.name.as_str());
        for decorator in &function.decorator_list {
            self.visit_decorator(decorator);
        }
        self.defaults_of(&function.parameters);
        let is_generic = self.enter_type_parameters(function.type_params.as_deref());
        self.annotations_of(&function.parameters, function.returns.as_deref());
        self.enter(Kind::Function { is_async: function.is_async });
        self.parameters_of(&function.parameters);
        self.functions += 1;
        self.visit_body(&function.body);
        self.functions -= 1;
        self.leave();
        if is_generic {
            self.leave();
        }
    }

    fn class(&mut self, class: &'a ruff_python_ast::StmtClassDef) {
        self.bind(class.name.as_str());
        for decorator in &class.decorator_list {
            self.visit_decorator(decorator);
        }
        let is_generic = self.enter_type_parameters(class.type_params.as_deref());
        if let Some(arguments) = &class.arguments {
            self.visit_arguments(arguments);
        }
        self.enter(Kind::Class);
        self.visit_body(&class.body);
        self.leave();
        if is_generic {
            self.leave();
        }
    }

    /// A comprehension: its first iterable belongs to the scope around it.
    fn comprehension(&mut self, kind: Kind, generators: &'a [Comprehension], elements: [Option<&'a Expr>; 2]) {
        let Some((first, rest)) = generators.split_first() else { return };
        self.visit_expr(&first.iter);
        self.enter(kind);
        self.comprehensions += 1;
        self.visit_expr(&first.target);
        for condition in &first.ifs {
            self.visit_expr(condition);
        }
        for generator in rest {
            walk_comprehension(self, generator);
        }
        for element in elements.into_iter().flatten() {
            self.visit_expr(element);
        }
        self.comprehensions -= 1;
        self.leave();
    }

    /// Runs `visit` one block deeper, as CPython's compiler counts them.
    fn within_blocks(&mut self, blocks: usize, range: TextRange, visit: impl FnOnce(&mut Self)) {
        let Some(scope) = self.place.scopes.last_mut() else { return };
        scope.blocks += blocks;
        if scope.blocks > MAX_BLOCKS {
            self.place.refuse(Phase::Compiler, "too many statically nested blocks", range);
        }
        visit(self);
        if let Some(scope) = self.place.scopes.last_mut() {
            scope.blocks -= blocks;
        }
    }

    fn body_of_loop(&mut self, body: &'a [Stmt], range: TextRange) {
        let Some(scope) = self.place.scopes.last_mut() else { return };
        let in_except_star = std::mem::take(&mut scope.in_except_star);
        scope.loops += 1;
        self.within_blocks(1, range, |checker| checker.visit_body(body));
        if let Some(scope) = self.place.scopes.last_mut() {
            scope.loops -= 1;
            scope.in_except_star = in_except_star;
        }
    }

    fn try_statement(&mut self, stmt: &'a ruff_python_ast::StmtTry) {
        let finally = usize::from(!stmt.finalbody.is_empty());
        let except = usize::from(!stmt.handlers.is_empty());
        self.within_blocks(finally + except, stmt.range, |checker| checker.visit_body(&stmt.body));
        for (index, handler) in stmt.handlers.iter().enumerate() {
            let ExceptHandler::ExceptHandler(inner) = handler;
            if inner.type_.is_none() && index + 1 < stmt.handlers.len() {
                self.place.refuse(Phase::Compiler, "default 'except:' must be last", inner.range);
            }
            let before = self.place.scopes.last().is_some_and(|scope| scope.in_except_star);
            self.in_except_star(before || stmt.is_star);
            self.visit_except_handler(handler);
            self.in_except_star(before);
        }
        self.visit_body(&stmt.orelse);
        self.visit_body(&stmt.finalbody);
    }

    fn in_except_star(&mut self, is_in: bool) {
        if let Some(scope) = self.place.scopes.last_mut() {
            scope.in_except_star = is_in;
        }
    }

    /// What the compiler refuses about a starred expression.
    fn no_star(&self, expr: &Expr) {
        if expr.is_starred_expr() {
            self.place.refuse(Phase::Compiler, "can't use starred expression here", expr.range());
        }
    }

    fn check_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::Expr(stmt) => self.no_star(&stmt.value),
            Stmt::AugAssign(stmt) => self.no_star(&stmt.value),
            Stmt::AnnAssign(stmt) => {
                if let Some(value) = &stmt.value {
                    self.no_star(value);
                }
            }
            Stmt::Delete(stmt) => stmt.targets.iter().for_each(|target| self.no_star(target)),
            Stmt::Return(stmt) => self.leaves_except_star(stmt.range),
            Stmt::Break(stmt) => self.leaves_except_star(stmt.range),
            Stmt::Continue(stmt) => self.leaves_except_star(stmt.range),
            _ => {}
        }
    }

    fn leaves_except_star(&self, range: TextRange) {
        if self.place.scopes.last().is_some_and(|scope| scope.in_except_star) {
            let message = "'break', 'continue' and 'return' cannot appear in an 'except*' block";
            self.place.refuse(Phase::Compiler, message, range);
        }
    }

    /// Whether ruff's checks are right about this statement, and take no more than their share of time.
    fn is_for_ruff(&self, stmt: &Stmt) -> bool {
        let parameters = match stmt {
            Stmt::FunctionDef(function) => {
                if function.is_async && self.functions > MAX_REREAD {
                    return false;
                }
                function.type_params.as_deref()
            }
            Stmt::ClassDef(class) => class.type_params.as_deref(),
            Stmt::TypeAlias(alias) => alias.type_params.as_deref(),
            // It takes `.__future__` for `__future__`, as CPython does before 3.13.
            Stmt::ImportFrom(import) if import.level > 0 && self.place.version >= PythonVersion::PY313 => {
                return import.module.as_deref() != Some("__future__");
            }
            _ => None,
        };
        parameters.is_none_or(|parameters| parameters.type_params.len() <= MAX_QUADRATIC)
    }
}

impl<'a> Visitor<'a> for Checker<'a> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        if self.is_for_ruff(stmt)
            && let Some(semantic) = &mut self.semantic
        {
            semantic.visit_stmt(stmt, &self.place);
        }
        self.check_stmt(stmt);
        match stmt {
            Stmt::FunctionDef(function) => self.function(function),
            Stmt::ClassDef(class) => self.class(class),
            Stmt::Global(stmt) => stmt.names.iter().for_each(|name| self.declare(name.as_str(), stmt.range, true)),
            Stmt::Nonlocal(stmt) => stmt.names.iter().for_each(|name| self.declare(name.as_str(), stmt.range, false)),
            Stmt::Import(import) => {
                for alias in &import.names {
                    let whole = alias.name.as_str();
                    let first = whole.split_once('.').map_or(whole, |(first, _)| first);
                    self.import(alias.asname.as_ref().map_or(first, |name| name.as_str()));
                }
            }
            Stmt::ImportFrom(import) => {
                let is_future = import.module.as_deref() == Some("__future__") && import.level == 0;
                for alias in &import.names {
                    self.place.annotations |= is_future && alias.name.as_str() == "annotations";
                    if alias.name.as_str() != "*" {
                        self.import(alias.asname.as_ref().unwrap_or(&alias.name).as_str());
                    }
                }
            }
            Stmt::AnnAssign(stmt) => {
                if let Expr::Name(name) = stmt.target.as_ref() {
                    let is_module = self.place.kind() == Kind::Module;
                    let before = self.symbol(name.id.as_str()).copied().unwrap_or_default();
                    if stmt.simple && !is_module && (before.global || before.nonlocal) {
                        let word = if before.global { "global" } else { "nonlocal" };
                        let message = format!("annotated name '{}' can't be {word}", name.id);
                        self.place.refuse(Phase::Symbols, message, stmt.range);
                    }
                    if name.id == "__debug__" {
                        self.place.refuse(Phase::Compiler, "cannot assign to __debug__", name.range);
                    }
                    if let Some(symbol) = self.symbol(name.id.as_str()) {
                        symbol.annotated |= stmt.simple;
                        symbol.bound |= stmt.simple || stmt.value.is_some();
                    }
                } else {
                    self.visit_expr(&stmt.target);
                }
                self.visit_annotation(&stmt.annotation);
                if let Some(value) = &stmt.value {
                    self.visit_expr(value);
                }
            }
            Stmt::TypeAlias(alias) => {
                self.visit_expr(&alias.name);
                let is_generic = self.enter_type_parameters(alias.type_params.as_deref());
                self.enter(Kind::TypeParameters);
                self.visit_expr(&alias.value);
                self.leave();
                if is_generic {
                    self.leave();
                }
            }
            Stmt::For(stmt) => {
                self.visit_expr(&stmt.target);
                self.visit_expr(&stmt.iter);
                self.body_of_loop(&stmt.body, stmt.range);
                self.visit_body(&stmt.orelse);
            }
            Stmt::While(stmt) => {
                self.visit_expr(&stmt.test);
                self.body_of_loop(&stmt.body, stmt.range);
                self.visit_body(&stmt.orelse);
            }
            Stmt::With(stmt) => {
                for item in &stmt.items {
                    self.visit_with_item(item);
                }
                self.within_blocks(stmt.items.len(), stmt.range, |checker| checker.visit_body(&stmt.body));
            }
            Stmt::Try(stmt) => self.try_statement(stmt),
            _ => walk_stmt(self, stmt),
        }
    }

    fn visit_elif_else_clause(&mut self, clause: &'a ElifElseClause) {
        if let Some(test) = &clause.test {
            self.visit_expr(test);
        }
        self.visit_body(&clause.body);
    }

    fn visit_except_handler(&mut self, handler: &'a ExceptHandler) {
        let ExceptHandler::ExceptHandler(inner) = handler;
        if let Some(name) = &inner.name {
            self.bind(name.as_str());
        }
        walk_except_handler(self, handler);
    }

    fn visit_type_param(&mut self, parameter: &'a TypeParam) {
        let default = match parameter {
            TypeParam::TypeVar(parameter) => parameter.default.as_deref(),
            TypeParam::TypeVarTuple(parameter) => parameter.default.as_deref(),
            TypeParam::ParamSpec(parameter) => parameter.default.as_deref(),
        };
        if let Some(default) = default
            && self.place.version < PythonVersion::PY313
        {
            self.place.refuse(Phase::Parser, "invalid syntax", default.range());
        }
        walk_type_param(self, parameter);
    }

    fn visit_interpolated_string_element(&mut self, element: &'a InterpolatedStringElement) {
        let InterpolatedStringElement::Interpolation(field) = element else { return };
        self.no_star(&field.expression);
        if self.place.version < PythonVersion::PY312 {
            if self.specifications > 1 {
                self.place.refuse(Phase::Parser, "f-string: expressions nested too deeply", field.range);
            }
            let text = self.place.text.get(..field.range.end().to_usize()).unwrap_or_default();
            let is_bare = field.format_spec.is_none() && field.conversion != ConversionFlag::None;
            if is_bare && text.strip_suffix('}').is_some_and(|text| text.ends_with(char::is_whitespace)) {
                self.place.refuse(Phase::Parser, "f-string: expecting '}'", field.range);
            }
        }
        let specifications = std::mem::take(&mut self.specifications);
        self.visit_expr(&field.expression);
        self.specifications = specifications;
        if let Some(specification) = &field.format_spec {
            self.specifications += 1;
            for element in &specification.elements {
                self.visit_interpolated_string_element(element);
            }
            self.specifications -= 1;
        }
    }

    fn visit_pattern(&mut self, pattern: &'a Pattern) {
        let name = match pattern {
            Pattern::MatchAs(pattern) => pattern.name.as_ref(),
            Pattern::MatchStar(pattern) => pattern.name.as_ref(),
            Pattern::MatchMapping(pattern) => pattern.rest.as_ref(),
            _ => None,
        };
        if let Some(name) = name {
            self.bind(name.as_str());
        }
        if let Pattern::MatchValue(value) = pattern
            && value.value.is_f_string_expr()
        {
            let message = "patterns may only match literals and attribute lookups";
            self.place.refuse(Phase::Parser, message, value.range);
        }
        walk_pattern(self, pattern);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        let clauses = match expr {
            Expr::ListComp(comp) => comp.generators.len(),
            Expr::SetComp(comp) => comp.generators.len(),
            Expr::DictComp(comp) => comp.generators.len(),
            Expr::Generator(comp) => comp.generators.len(),
            _ => 0,
        };
        let is_affordable = clauses == 0 || (clauses <= MAX_QUADRATIC && self.comprehensions <= MAX_REREAD);
        if is_affordable && let Some(semantic) = &mut self.semantic {
            semantic.visit_expr(expr, &self.place);
        }
        match expr {
            Expr::Name(name) => {
                let is_load = name.ctx == ExprContext::Load;
                if let Some(symbol) = self.symbol(name.id.as_str()) {
                    symbol.used |= is_load;
                    symbol.bound |= !is_load;
                }
            }
            Expr::Named(named) => {
                self.visit_expr(&named.value);
                if let Expr::Name(name) = named.target.as_ref() {
                    // It binds outside of comprehensions.
                    let scope = self.place.scopes.iter_mut().rev().find(|scope| !scope.kind.is_comprehension());
                    if let Some(scope) = scope {
                        scope.symbols.entry(name.id.as_str()).or_default().bound = true;
                    }
                }
                if let Some(semantic) = &mut self.semantic {
                    semantic.visit_expr(&named.target, &self.place);
                }
            }
            Expr::Lambda(lambda) => {
                if let Some(parameters) = &lambda.parameters {
                    self.defaults_of(parameters);
                }
                self.enter(Kind::Lambda);
                if let Some(parameters) = &lambda.parameters {
                    self.parameters_of(parameters);
                }
                self.visit_expr(&lambda.body);
                self.leave();
            }
            Expr::ListComp(comp) => self.comprehension(Kind::Comprehension, &comp.generators, [Some(&comp.elt), None]),
            Expr::SetComp(comp) => self.comprehension(Kind::Comprehension, &comp.generators, [Some(&comp.elt), None]),
            Expr::DictComp(comp) => {
                self.comprehension(Kind::Comprehension, &comp.generators, [comp.key.as_deref(), Some(&comp.value)]);
            }
            Expr::Generator(comp) => self.comprehension(Kind::Generator, &comp.generators, [Some(&comp.elt), None]),
            Expr::Call(call) => {
                for keyword in &call.arguments.keywords {
                    if keyword.arg.as_deref() == Some("__debug__") {
                        self.place.refuse(Phase::Compiler, "cannot assign to __debug__", keyword.range);
                    }
                }
                walk_expr(self, expr);
            }
            Expr::Attribute(attribute) => {
                if attribute.ctx != ExprContext::Load && attribute.attr.as_str() == "__debug__" {
                    self.place.refuse(Phase::Compiler, "cannot assign to __debug__", attribute.range);
                }
                walk_expr(self, expr);
            }
            _ => walk_expr(self, expr),
        }
    }
}
