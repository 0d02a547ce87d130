use aevatar_sandbox_contract::{ImportPolicy, MAX_FINDINGS, PythonVersion, ValidationReport, ValidationRule};
use proptest::prelude::*;
use serde_json::json;

use super::{
    DEFAULT_ALLOWED_MODULES, DangerousConstructs, ImportRules, PythonCodeValidator, ValidatorOptions,
    imports::is_in_standard_library,
};

const VERSION: PythonVersion = PythonVersion { major: 3, minor: 12, micro: 0 };

fn policy() -> ImportPolicy {
    let allowed = DEFAULT_ALLOWED_MODULES.iter().map(|module| (*module).to_owned()).collect();
    ImportPolicy { allowed, blocked: ImportRules::default().blocked }
}

fn read(code: impl AsRef<[u8]>) -> ValidationReport {
    PythonCodeValidator::default().validate(code.as_ref(), VERSION, Some(&policy()))
}

fn reject(code: &str) -> ValidationReport {
    let options = ValidatorOptions { dangerous_constructs: DangerousConstructs::Reject, ..ValidatorOptions::default() };
    PythonCodeValidator::new(options).validate(code.as_bytes(), VERSION, Some(&policy()))
}

/// Name, message, line and column of a refusal.
fn refusal(code: impl AsRef<[u8]>) -> (String, String, u32, u32) {
    let error = read(code).syntax_error.expect("it is refused");
    (error.name, error.value, error.line.unwrap(), error.column.unwrap())
}

fn warnings(code: &str) -> Vec<ValidationRule> {
    let report = read(code);
    assert_eq!(report.syntax_error, None);
    report.warnings.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn a_syntax_error_is_shown_as_cpython_shows_it() {
    let report = read("def f():\n    x = (1,\n\nprint(f())\n");
    assert!(!report.is_valid);
    let error = report.syntax_error.unwrap();
    assert_eq!(
        error.traceback,
        "  File \"/work/main.py\", line 2\n    x = (1,\n        ^\nSyntaxError: '(' was never closed\n"
    );
    assert_eq!((error.line, error.column, error.errno), (Some(2), Some(9), None));
}

#[test]
fn columns_are_characters_and_long_lines_are_cut() {
    assert_eq!(refusal("é = '変' ]").3, 9);
    let code = format!("x = [{}]] + [{}]", "'é', ".repeat(10_000), "1, ".repeat(10_000));
    let error = read(code).syntax_error.unwrap();
    assert!(error.traceback.chars().count() < 600, "{}", error.traceback);
    let lines: Vec<&str> = error.traceback.lines().collect();
    let column = lines[2].find('^').unwrap();
    assert_eq!(lines[1].chars().nth(column), Some(']'));
}

#[test]
fn the_tokenizer_speaks_as_cpython_does() {
    for (code, name, message, line) in [
        ("x = [1, 2)", "SyntaxError", "closing parenthesis ')' does not match opening parenthesis '['", 1),
        ("x = [\n1, 2)", "SyntaxError", "closing parenthesis ')' does not match opening parenthesis '[' on line 1", 2),
        ("x = 1)", "SyntaxError", "unmatched ')'", 1),
        ("x = 'abc", "SyntaxError", "unterminated string literal (detected at line 1)", 1),
        ("x = '''abc\n\n", "SyntaxError", "unterminated triple-quoted string literal (detected at line 3)", 1),
        ("if a:\n    b\n  c", "IndentationError", "unindent does not match any outer indentation level", 3),
        ("if a:\n\tb\n        c", "TabError", "inconsistent use of tabs and spaces in indentation", 3),
        ("  a", "IndentationError", "unexpected indent", 1),
        ("x = 1 \\ 2", "SyntaxError", "unexpected character after line continuation character", 1),
        ("x = “a”", "SyntaxError", "invalid character '“' (U+201C)", 1),
        ("x =\u{a0}1", "SyntaxError", "invalid non-printable character U+00A0", 1),
        ("f'{a'", "SyntaxError", "unterminated string literal (detected at line 1)", 1),
        ("f'}'", "SyntaxError", "f-string: single '}' is not allowed", 1),
    ] {
        let found = refusal(code);
        assert_eq!((found.0.as_str(), found.1.as_str(), found.2), (name, message, line), "{code}");
    }
    let deep = "(".repeat(201);
    assert_eq!(refusal(deep).1, "too many nested parentheses");
    let deep: Vec<String> = (0..100).map(|level| " ".repeat(level) + "if a:\n").collect();
    assert_eq!(refusal(deep.concat() + &" ".repeat(100) + "a").1, "too many levels of indentation");
    assert!(refusal("1".repeat(4301)).1.starts_with("Exceeds the limit (4300 digits)"));
    assert!(read("1".repeat(4300)).is_valid);
}

#[test]
fn bytes_are_decoded_as_cpython_decodes_them() {
    assert_eq!(refusal(b"x = 1\n\0").1, "source code cannot contain null bytes");
    let (_, message, line, _) = refusal(b"x = 1\ny = '\xff'\n");
    assert_eq!(message, "(unicode error) 'utf-8' codec can't decode byte 0xff in position 11: invalid start byte");
    assert_eq!(line, 2);
    assert!(read(b"\xef\xbb\xbfx = 1").is_valid);
    assert!(read(b"# coding: latin-1\nx = '\xe9'").is_valid);
    assert!(read(b"#!/usr/bin/python\n# -*- coding: iso-8859-1 -*-\nx = '\xe9'").is_valid);
    assert_eq!(refusal(b"x = 1\n# coding: latin-1\ny = '\xe9'").0, "SyntaxError");
    assert_eq!(refusal(b"# coding: klingon\n").1, "unknown encoding: klingon");
    assert_eq!(refusal(b"\xef\xbb\xbf# coding: latin-1\n").1, "encoding problem: latin-1 with BOM");
    assert!(refusal(b"# coding: ascii\nx = '\xe9'").1.ends_with("ordinal not in range(128)"));
    let report = read(b"# coding: gbk\nx = '\xc4\xe3' ((((");
    assert!(report.is_valid);
    assert_eq!(report.warnings[0].rule, ValidationRule::OpaqueEncoding);
    assert!(!reject("\n# coding: utf-7\n").is_valid);
}

#[test]
fn code_is_measured_before_it_is_read() {
    let options = ValidatorOptions { max_code_length: 10, ..ValidatorOptions::default() };
    let validator = PythonCodeValidator::new(options);
    let report = validator.validate(b"x = (((((((((", VERSION, None);
    assert!(!report.is_valid);
    assert_eq!(report.violations[0].rule, ValidationRule::CodeLength);
    assert_eq!(report.violations[0].message, "the program has 13 characters, and 10 are allowed");
    assert_eq!(report.syntax_error, None);
    assert!(validator.validate("a = 'ééé'".as_bytes(), VERSION, None).is_valid, "characters, not bytes");
}

#[test]
fn what_is_too_deep_for_cpython_is_refused_and_what_is_not_is_read() {
    let sum = |terms: usize| vec!["a"; terms].join("+");
    let read = |code: &str, minor: u8| {
        let version = PythonVersion { major: 3, minor, micro: 0 };
        PythonCodeValidator::default().validate(code.as_bytes(), version, None).syntax_error.map(|error| error.value)
    };
    for minor in 11..=13 {
        assert_eq!(read(&sum(2_990), minor), None);
        assert_eq!(read(&format!("[{}]", "1, ".repeat(100_000)), minor), None);
        assert_eq!(read(&format!("if a: b\n{}", "elif c: d\n".repeat(2_900)), minor), None);
        assert_eq!(read(&format!("x = {}", "not ".repeat(2_900) + "a"), minor), None);
        assert_eq!(read(&format!("x = {}", "lambda: ".repeat(2_900) + "a"), minor), None);
        assert_eq!(read(&sum(10_100), minor).as_deref(), Some("too deeply nested"));
        assert_eq!(read(&("-".repeat(6_100) + "a"), minor).as_deref(), Some("too deeply nested"));
        assert_eq!(read(&("lambda: ".repeat(100_000) + "a"), minor).as_deref(), Some("too deeply nested"));
        assert_eq!(read(&"(".repeat(500_000), minor).as_deref(), Some("too many nested parentheses"));
    }
    assert!(read(&sum(3_100), 11).is_some());
    assert_eq!(read(&sum(9_900), 13), None);
    assert_eq!(read(&vec!["a**2"; 9_000].join("+"), 13), None, "a power ends at the next operator");
}

#[test]
fn imports_are_listed_once_and_judged_each_time() {
    let code = "import os, numpy as np\nimport os\nfrom sklearn.linear_model import LinearRegression\n\
                import torch.nn\ndef f():\n    import ctypes\n    from torch import cuda\n__import__('left_pad')\n\
                import importlib as il\nil.import_module('right_pad')\nfrom . import near\nimport __main__\n";
    let report = read(code);
    let modules: Vec<(&str, u32, u32)> =
        report.imports.iter().map(|import| (import.module.as_str(), import.line, import.column)).collect();
    assert_eq!(
        modules,
        [
            ("os", 1, 8),
            ("numpy", 1, 12),
            ("sklearn.linear_model", 3, 6),
            ("torch.nn", 4, 8),
            ("ctypes", 6, 12),
            ("torch", 7, 10),
            ("left_pad", 8, 12),
            ("importlib", 9, 8),
            ("right_pad", 10, 18),
            ("__main__", 12, 8),
        ]
    );
    let violations: Vec<(ValidationRule, &str, u32)> = report
        .violations
        .iter()
        .map(|finding| (finding.rule, finding.module.as_deref().unwrap(), finding.line))
        .collect();
    assert_eq!(
        violations,
        [
            (ValidationRule::ModuleNotAllowed, "torch.nn", 4),
            (ValidationRule::BlockedModule, "ctypes", 6),
            (ValidationRule::ModuleNotAllowed, "torch", 7),
            (ValidationRule::ModuleNotAllowed, "left_pad", 8),
            (ValidationRule::ModuleNotAllowed, "right_pad", 10),
        ]
    );
    assert!(!report.is_valid);
    assert!(PythonCodeValidator::default().validate(code.as_bytes(), VERSION, None).is_valid, "without a policy");
}

#[test]
fn what_a_program_can_do_without_or_brings_itself_is_no_violation() {
    let policy = ImportPolicy { allowed: vec!["numpy".to_owned()], blocked: vec!["ctypes".to_owned()] };
    let rejected = |code: &str| -> Vec<String> {
        let report = PythonCodeValidator::default().validate(code.as_bytes(), VERSION, Some(&policy));
        assert_eq!(report.syntax_error, None, "{code}");
        report.violations.into_iter().filter_map(|finding| finding.module).collect()
    };
    for left_open in [
        "try:\n    import torch\nexcept ImportError:\n    torch = None\n",
        "try:\n    import tomllib\nexcept ModuleNotFoundError:\n    import tomli as tomllib\n",
        "try:\n    import json\nexcept KeyError:\n    pass\nelse:\n    import torch\n",
        "import sys\nif sys.version_info >= (3, 11):\n    import tomllib\nelse:\n    import tomli\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n",
        "import contextlib\nwith contextlib.suppress(ImportError):\n    import torch\n",
        "open('helper.py', 'w').write('')\nimport helper\n",
        "import os\nos.mkdir('kit')\nopen('kit/one.py', 'w')\nimport kit.one\n",
        "from pathlib import Path\np = Path('kit')\np.mkdir()\nfrom kit.core import f\n",
        "import sys, types\nsys.modules['made'] = types.ModuleType('made')\nimport made\n",
    ] {
        assert_eq!(rejected(left_open), Vec::<String>::new(), "{left_open}");
    }
    assert_eq!(rejected("try:\n    import json\nexcept ImportError:\n    pass\nimport torch\n"), ["torch"]);
    assert_eq!(rejected("def f():\n    import torch\n"), ["torch"]);
    assert_eq!(rejected("import importlib\nimportlib.import_module('torch')\n"), ["torch"]);
    let nested = "try:\n    try:\n        import a\n    finally:\n        import b\n    import c\nfinally:\n    pass\n\
                  import d\n";
    assert_eq!(rejected(nested), ["d"]);
    // What is blocked is blocked.
    assert_eq!(rejected("try:\n    import ctypes\nexcept ImportError:\n    ctypes = None\n"), ["ctypes"]);
    assert_eq!(rejected("open('ctypes.py', 'w')\nimport ctypes\n"), ["ctypes"]);
}

#[test]
fn a_blocked_submodule_is_found_in_a_from_import() {
    let policy = ImportPolicy { allowed: vec!["numpy".to_owned()], blocked: vec!["numpy.ctypeslib".to_owned()] };
    let validate = |code: &str| PythonCodeValidator::default().validate(code.as_bytes(), VERSION, Some(&policy));
    assert!(!validate("from numpy import ctypeslib").is_valid);
    assert!(!validate("import numpy.ctypeslib").is_valid);
    assert!(validate("from numpy import array").is_valid);
    assert!(validate("from numpy import *").is_valid);
}

#[test]
fn imports_before_a_syntax_error_are_listed() {
    for code in ["import torch\nx = (\n", "import torch\nx = 'a\n", "import torch\nx = = 1\n", "import torch\nreturn\n"]
    {
        let report = read(code);
        assert!(!report.is_valid && report.syntax_error.is_some());
        assert_eq!(report.imports[0].module, "torch", "{code}");
    }
}

#[test]
fn dangerous_constructs_are_warned_of() {
    use ValidationRule::{ComputedImport, DecodedCode, DunderWalk, DynamicCode, ShellCommand, UnsafeDeserialization};
    for (code, expected) in [
        ("eval(input())", DynamicCode),
        ("exec(open('a').read())", DynamicCode),
        ("exec(f'x = {y}' + z)", DynamicCode),
        ("import builtins\nbuiltins.exec(x)", DynamicCode),
        ("import base64\nexec(base64.b64decode('cHJpbnQoMSk='))", DecodedCode),
        ("from base64 import b64decode as d\nexec(compile(d(x), 'a', 'exec'))", DecodedCode),
        ("import zlib, base64\ncode = zlib.decompress(base64.b64decode(x))\nexec(code)", DecodedCode),
        ("exec(bytes.fromhex('70617373').decode())", DecodedCode),
        ("exec(__import__('base64').b64decode('cHJpbnQoMSk='))", DecodedCode),
        ("__import__('os').system('ls')", ShellCommand),
        ("().__class__.__base__.__subclasses__()", DunderWalk),
        ("''.__class__.__mro__[1].__subclasses__()", DunderWalk),
        ("x.__init__.__globals__['os']", DunderWalk),
        ("object.__subclasses__()", DunderWalk),
        ("getattr(x, '__subclasses__')()", DunderWalk),
        ("__import__(name)", ComputedImport),
        ("import importlib\nimportlib.import_module('a' + b)", ComputedImport),
        ("import pickle\npickle.load(open('a', 'rb'))", UnsafeDeserialization),
        ("from pickle import loads\nloads(data)", UnsafeDeserialization),
        ("import os\nos.system('ls')", ShellCommand),
        ("import subprocess\nsubprocess.run('ls', shell=True)", ShellCommand),
        ("import subprocess as sp\nsp.check_output(['bash', '-c', 'ls'])", ShellCommand),
    ] {
        assert_eq!(warnings(code), [expected], "{code}");
        let report = reject(code);
        assert!(!report.is_valid && report.warnings.is_empty());
        assert_eq!(report.violations[0].rule, expected);
        assert!(!report.violations[0].hint.is_empty());
    }
}

#[test]
fn honest_programs_are_not_warned_of() {
    for code in [
        "df.eval('a + b')\nre.compile(x)\nmodel.eval()\n",
        "exec('x = 1')\neval('1 + 1')\n",
        "import re\nfrom re import compile\ncompile(pattern)\n",
        "def eval(x): return x\neval(y)\n",
        "type(self).__name__\nself.__class__.__name__\ncls.__subclasses__()\ntype(x).__mro__\nself.__class__.__mro__\n",
        "super().__init__()\nx.__dict__\nx.__class__.__qualname__\nobject.__new__(cls)\n",
        "import json, base64\njson.loads(base64.b64decode(x))\n",
        "import pickle\npickle.dumps(x)\ncopy = pickle.loads(pickle.dumps(x))\n",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'pass'], check=True)\n",
        "import os\nos.path.join(a, b)\nos.listdir('.')\n",
        "import importlib\nimportlib.import_module('json')\n__import__('json')\n",
        "import ast\nast.literal_eval(x)\ncompile(ast.parse('1'), 'a', 'eval')\n",
        "import gzip\ndata = gzip.decompress(x)\nprint(data)\n",
    ] {
        assert_eq!(warnings(code), [], "{code}");
    }
}

#[test]
fn lists_are_short_and_quote_little() {
    let name = "n".repeat(50_000);
    let code = format!("import {name}\nfrom {name} import {name}\nimport os.{name}\n").repeat(10);
    let report = read(&code);
    assert!(serde_json::to_string(&report).unwrap().len() < 50_000);
    let code: Vec<String> = (0..500).map(|number| format!("import m{number}\neval(x)\n")).collect();
    let report = read(code.concat());
    assert_eq!(report.imports.len(), MAX_FINDINGS);
    assert_eq!(report.violations.len(), MAX_FINDINGS);
    assert_eq!(report.warnings.len(), MAX_FINDINGS);
    assert!(report.truncated);
}

#[test]
fn the_standard_library_has_what_python_says_it_has() {
    for name in
        ["os", "_thread", "__future__", "antigravity", "this", "__main__", "os.path", "tomllib", "_ctypes", "sandbox"]
    {
        assert!(is_in_standard_library(12, name), "{name}");
    }
    assert!(!is_in_standard_library(12, "numpy") && !is_in_standard_library(13, "imp"));
    assert!(is_in_standard_library(11, "imp") && is_in_standard_library(12, "telnetlib"));
}

#[test]
fn a_report_is_what_the_contract_says() {
    let report = serde_json::to_value(read("import numpy\nx = ")).unwrap();
    assert_eq!(report["isValid"], json!(false));
    assert_eq!(report["syntaxError"]["name"], json!("SyntaxError"));
    assert_eq!(report["imports"], json!([{ "module": "numpy", "line": 1, "column": 8 }]));
}

/// Pieces of which programs are made.
const PIECES: &[&str] = &[
    "a",
    "b",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    ";",
    "=",
    ":=",
    ".",
    "*",
    "**",
    "-",
    "+",
    "@",
    "!",
    "$",
    "\\",
    "\n",
    "\r",
    "\n    ",
    "\n\t",
    " ",
    "if ",
    "else ",
    "elif ",
    "for ",
    "in ",
    "while ",
    "def ",
    "class ",
    "lambda ",
    "async ",
    "await ",
    "yield ",
    "return ",
    "import ",
    "from ",
    "global ",
    "nonlocal ",
    "try:",
    "except ",
    "finally:",
    "with ",
    "as ",
    "match ",
    "case ",
    "type ",
    "not ",
    "del ",
    "'",
    "\"",
    "'''",
    "\"\"\"",
    "f'",
    "f\"",
    "f'''",
    "rb'",
    "t'",
    "{{",
    "}}",
    "#",
    "1",
    "0x",
    "1e",
    "é",
    "变",
    "\u{301}",
    "\u{feff}",
    "\x0c",
    "# coding: latin-1\n",
    "__import__(",
    "eval(",
    "__class__",
    "_",
    "...",
    "->",
    "!r",
    "None",
];

fn check_places(report: &ValidationReport, text: &str) {
    let lines = u32::try_from(text.matches(['\n', '\r']).count() + 1).unwrap();
    let longest = u32::try_from(text.chars().count() + 1).unwrap();
    let findings = report.violations.iter().chain(&report.warnings).map(|finding| (finding.line, finding.column));
    let imports = report.imports.iter().map(|import| (import.line, import.column));
    let error = report.syntax_error.iter().filter_map(|error| error.line.zip(error.column));
    for (line, column) in findings.chain(imports).chain(error) {
        assert!((1..=lines).contains(&line) && (1..=longest).contains(&column), "{line}:{column} of {text:?}");
    }
    assert_eq!(report.is_valid, report.syntax_error.is_none() && report.violations.is_empty());
}

proptest! {
    #[test]
    fn every_text_has_a_report(bytes in proptest::collection::vec(any::<u8>(), 0..200), minor in 11_u8..=13) {
        let version = PythonVersion { major: 3, minor, micro: 0 };
        let report = PythonCodeValidator::default().validate(&bytes, version, Some(&policy()));
        check_places(&report, &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn every_soup_of_tokens_has_a_report(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..60),
        minor in 11_u8..=13,
    ) {
        let text = pieces.concat();
        let version = PythonVersion { major: 3, minor, micro: 0 };
        let report = PythonCodeValidator::default().validate(text.as_bytes(), version, Some(&policy()));
        prop_assert!(report.warnings.iter().all(|finding| finding.rule != ValidationRule::OpaqueEncoding), "no panic");
        check_places(&report, &text);
    }
}
