//! Texts that are made to be hard on a reader of Python. `xtask` measures them too.

/// Hostile texts of about `size` bytes, each with a name.
#[must_use]
pub(crate) fn programs(size: usize) -> Vec<(String, Vec<u8>)> {
    let mut programs: Vec<(String, Vec<u8>)> = repeated(size);
    programs.extend(built(size));
    programs.extend(bytes(size));
    programs
}

/// What is repeated.
const PIECES: &[&str] = &[
    "(",
    "[",
    "{",
    ")",
    "]",
    "}",
    "()",
    "(),",
    "[[],",
    "{0:",
    "a(",
    "a[",
    "lambda: ",
    "lambda a=",
    "lambda a,b:",
    "-",
    "~",
    "+-",
    "not ",
    "await ",
    "a.",
    "a().",
    "a[0].",
    "1+",
    "a*-",
    "a**",
    "a if b else ",
    "a and ",
    "a or not ",
    "a<",
    "a not in ",
    "a is not ",
    "x=",
    "x:=",
    "(x:=",
    "*a,",
    "**a,",
    "*",
    "**",
    "yield ",
    "(yield ",
    "$",
    "?",
    "!",
    "`",
    ";",
    ":",
    ",",
    "@a\n",
    "@",
    "global a;",
    "global a\n",
    "nonlocal a;",
    "import a\n",
    "import a,",
    "from a import b\n",
    "from . import a\n",
    "a;",
    "pass\n",
    "\\\n",
    "\\\r\n",
    "\n",
    "\r",
    "\x0c",
    " ",
    "\t",
    " \n",
    "'",
    "\"",
    "'''",
    "''",
    "'a' ",
    "\"\"\"\"\"\" ",
    "f'",
    "f'{",
    "f\"{a:",
    "f'{{",
    "f'{a}'",
    "f'{f\"{",
    "f'''{",
    "rb'",
    "t'{",
    "{{",
    "}}",
    "#",
    "#\n",
    "if a:\n pass\n",
    "if a: ",
    "if a:pass\n",
    "elif a:\n pass\n",
    "else: ",
    "for a in b: ",
    "for a in b ",
    "while a: ",
    "with ",
    "with (",
    "with (a,",
    "with a as b, ",
    "with (a as b, ",
    "match ",
    "match (",
    "match a:\n case b: pass\n",
    "case ",
    "case (",
    "type X = ",
    "type X[",
    "try: ",
    "try:\n pass\nexcept a:\n pass\n",
    "except: ",
    "finally: ",
    "class A: ",
    "class A(",
    "def f(): ",
    "def f(a, ",
    "def f[",
    "async ",
    "async def f(): ",
    "async for a in b: ",
    "return ",
    "raise ",
    "del a,",
    "assert ",
    "assert a, ",
    "a: int = ",
    "a: ",
    "a: b\n",
    "print ",
    "exec ",
    "0",
    "1",
    "9",
    "1_",
    "0x",
    "1e",
    "1.",
    ".1",
    "1j",
    "e\u{301}",
    "\u{301}",
    "\u{e9}",
    "\u{20ac}",
    "\u{1d431}",
    "\u{fb01}",
    "\u{a0}",
    "\u{200b}",
    "\u{feff}",
    "_",
    "a",
    "a ",
    "__",
    "a$",
    "a?b\n",
    "a b\n",
    "1 2\n",
    "(]\n",
    "(\n",
    "(a b\n",
    "[a for b\n",
    "f'{a b}'\n",
    "f'{'\n",
    "'a\n",
    "0777\n",
    "a = = b\n",
    "def f(\n",
    "class A\n",
    "if a\n",
    "if a:\n",
    "  a\n b\n",
    "a\n b\n",
    "->",
    "...",
    "..",
    ". ",
    "a,b=",
    "(a,b)=",
    "[a,b]=",
    "a[b:c,d:e],",
    "a[b:",
    "{a:b,",
    "{**a,",
    "[*a,",
    "f(*a,",
    "f(**a,",
    "f(a=1,",
    "eval(",
    "exec(x)\n",
    "pickle.loads(x)\n",
    "().__class__.__subclasses__()\n",
    "__import__(x)\n",
    "__import__('x')\n",
    "x.__class__.",
    "getattr(a,'__globals__')\n",
    "import os.system as a\n",
    "import a.",
    "from a.",
    "import a as b\n",
    "\u{2028}",
    "\u{85}",
    "nonlocal a\n",
    "'\\N{",
    "'\\x",
    "'\\u1'",
    "b'\u{e9}'",
    "'\\",
    "1 if ",
    "if ",
    "else ",
    "in ",
    "not",
    "is ",
    "and ",
    "or ",
    "as ",
];

/// One piece again and again, alone and in brackets, in a string, after an unclosed bracket, and with an end that
/// makes it valid or wrong only at the end.
fn repeated(size: usize) -> Vec<(String, Vec<u8>)> {
    let mut programs = Vec::new();
    for piece in PIECES {
        let text = piece.repeat(size / piece.len());
        let name = |form: &str| format!("{form} {piece:?}");
        programs.push((name("many"), text.clone().into_bytes()));
        programs.push((name("valid end"), format!("{text}a").into_bytes()));
        programs.push((name("in brackets"), format!("({text})").into_bytes()));
        programs.push((name("after an open bracket"), format!("x = ({text}").into_bytes()));
        programs.push((name("after an error in brackets"), format!("(a b\n{text}\n)").into_bytes()));
        programs.push((name("in a function"), format!("def f():\n    a = {text}a").into_bytes()));
        programs.push((name("in a string after an error"), format!("f'{{a b' + '''\n{text}'''").into_bytes()));
        programs.push((name("in an f-string"), format!("f'''{{a b + {text}}}'''").into_bytes()));
    }
    programs
}

/// Texts that need more than one piece.
#[expect(clippy::too_many_lines, reason = "a list")]
fn built(size: usize) -> Vec<(String, Vec<u8>)> {
    let lines = |make: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        let mut number = 0;
        while text.len() < size {
            text.push_str(&make(number));
            number += 1;
        }
        text
    };
    let nested = |open: &str, close: &str, most: usize| {
        let depth = (size / (open.len() + close.len())).min(most);
        format!("{}a{}", open.repeat(depth), close.repeat(depth))
    };
    let deep_lines = |opener: &str| {
        let mut text = String::new();
        let mut depth = 0;
        while text.len() < size {
            text.push_str(&" ".repeat(depth));
            text.push_str(opener);
            depth += 1;
        }
        text
    };
    let within = |depth: usize, opener: &str, inside: &str| {
        let mut text = String::new();
        for level in 0..depth {
            text.push_str(&" ".repeat(level));
            text.push_str(opener);
        }
        let indentation = " ".repeat(depth);
        while text.len() < size {
            text.push_str(&indentation);
            text.push_str(inside);
        }
        text
    };
    let long = "a ".repeat(size / 2).replace("a ", "a+") + "a";
    let names: String = lines(&|number| format!("n{number}, "));
    let mut programs = vec![
        ("elif chain", format!("if a:\n pass\n{}", "elif b:\n pass\n".repeat(size / 14))),
        ("nested brackets", nested("(", ")", 199)),
        ("nested comprehensions", nested("[", " for a in b]", 100)),
        ("nested comprehensions of much", format!("{}{long}{}", "[".repeat(150), " for a in b]".repeat(150))),
        ("nested lambdas in comprehensions", nested("[lambda: ", " for a in b]", 100)),
        ("comprehension clauses", format!("[a {}]", "for a in b ".repeat(size / 11))),
        ("comprehension conditions", format!("[a for a in b {}]", "if c ".repeat(size / 5))),
        ("conditions of clauses", format!("[a {}]", "for a in b if c ".repeat(size / 16))),
        ("nested subscripts", nested("a[", "]", 199)),
        ("deep blocks", deep_lines("if a:\n")),
        ("deep blocks in a bracket", format!("(a b\n{}", deep_lines("if a:\n"))),
        ("deep functions", deep_lines("async def f():\n")),
        ("deep loops", deep_lines("for a in b:\n")),
        ("much in deep coroutines", within(98, "async def f():\n", "yield a\n")),
        ("much in deep classes", within(98, "class A:\n", "a = a\n")),
        ("much in deep functions", within(98, "def f():\n", "nonlocal a\n")),
        ("peeks in deep blocks", within(98, "if a:\n", "match = type = case = a\n")),
        ("peeks in deep brackets", format!("{}{}", "(".repeat(190), "not a not in a is not a, ".repeat(size / 25))),
        ("type parameters", format!("def f[{names}](): pass")),
        ("type parameters of the same name", format!("class A[{}]: pass", "T, ".repeat(size / 3))),
        ("type parameters of an alias", format!("type A[{names}] = a")),
        ("parameters", format!("def f({names}): pass")),
        ("parameters of the same name", format!("def f({}): pass", "a, ".repeat(size / 3))),
        ("keywords", format!("f({})", lines(&|number| format!("k{number}=1, ")))),
        ("keywords of the same name", format!("f({})", "a=1, ".repeat(size / 5))),
        ("globals", format!("def f():\n global {names}a")),
        ("nonlocals", format!("def f():\n def g():\n  nonlocal {names}a")),
        ("globals after use", lines(&|number| format!("n{number}\nglobal n{number}\n"))),
        ("scopes", lines(&|number| format!("def f{number}(a):\n def g():\n  nonlocal a, b{number}\n"))),
        ("imports", lines(&|number| format!("import m{number}\n"))),
        ("imports of one line", lines(&|number| format!("import m{number};"))),
        ("imports from one module", format!("from a import {names}a")),
        ("one line of findings", lines(&|number| format!("eval(x{number});"))),
        ("decoded names", lines(&|number| format!("d{number} = base64.b64decode(d{number})\nexec(d{number})\n"))),
        ("nested eval", nested("eval(", ")", 199)),
        ("nested eval of much", format!("{}{long}{}", "eval(".repeat(190), ")".repeat(190))),
        ("nested format specifications", format!("f'{}{}'", "{a:".repeat(140), "}".repeat(140))),
        ("nested f-strings", "f'{".repeat(140) + "a" + &"}'".repeat(140)),
        ("many short f-strings", "f'{a}' ".repeat(size / 7)),
        ("a long f-string", format!("f'''{}'''", "{a}".repeat(size / 3))),
        ("a long f-string of errors", format!("f'''{}'''", "{a b}".repeat(size / 5))),
        ("a long f-string with calls", format!("f'''{}'''", "{a(b, 'c')!r:>{d}}".repeat(size / 18))),
        ("f-strings with quotes of their own", "f'{a['b']}' ".repeat(size / 12)),
        ("match of many", format!("match a:\n case {}1: pass", "1|".repeat(size / 2))),
        ("match of many names", format!("match a:\n case [{names}]: pass")),
        ("match of a mapping", format!("match a:\n case {{{}}}: pass", lines(&|number| format!("{number}: a, ")))),
        ("match of a class", format!("match a:\n case A({}): pass", lines(&|number| format!("k{number}=1, ")))),
        ("match of the same attribute", format!("match a:\n case A({}): pass", "a=1, ".repeat(size / 5))),
        ("match of nested alternatives", format!("match a:\n case {}a{}: pass", "(".repeat(190), "|a)".repeat(190))),
        ("match cases", format!("match a:\n{}", " case a: pass\n".repeat(size / 14))),
        ("match of dots", format!("match a:\n case {}a: pass", "a.".repeat(size / 2))),
        ("with many items", format!("with ({}a): pass", "a as b, ".repeat(size / 8))),
        ("with many calls", format!("with ({}a) + b: pass", "a(b), ".repeat(size / 6))),
        ("decorators", format!("{}def f(): pass", "@a\n".repeat(size / 3))),
        ("assignments", format!("{}1", "x=".repeat(size / 2))),
        ("unpacking", format!("{}= a", "*a, ".repeat(size / 4))),
        ("a sum", long.clone()),
        ("a sum over lines", format!("(a{})", "\n+a".repeat(size / 3))),
        ("a sum with continuations", format!("a{}", "\\\n+a".repeat(size / 4))),
        ("comparisons", format!("{}a", "a<".repeat(size / 2))),
        ("strings", "'a'\n".repeat(size / 4)),
        ("a string of many parts", format!("({})", "'a'\n".repeat(size / 4))),
        ("a long string", format!("'''{}'''", "a\\n".repeat(size / 3))),
        ("a string of names", format!("'{}'", "\\N{DIGIT ONE}".repeat(size / 13))),
        ("a long comment", format!("#{}", "a".repeat(size))),
        ("a long name", "a".repeat(size)),
        ("a name of combining characters", format!("a{}", "\u{301}".repeat(size / 2))),
        ("a name to normalise", "\u{fdfa}".repeat(size / 3)),
        ("a long number", "1".repeat(size)),
        ("a long hexadecimal number", format!("0x{}", "f".repeat(size))),
        ("a long float", format!("1.{}", "1".repeat(size))),
        (
            "long numbers",
            "1234567890".repeat(400).repeat(size / 4000).chars().enumerate().fold(
                String::new(),
                |mut text, (at, digit)| {
                    text.push(digit);
                    if at % 4000 == 3999 {
                        text.push('\n');
                    }
                    text
                },
            ),
        ),
        ("hexadecimal numbers", format!("[{}]", format!("0x{},", "f".repeat(4000)).repeat(size / 4003))),
        ("a list of numbers", format!("[{}]", "1,".repeat(size / 2))),
        ("a dict of numbers", format!("{{{}}}", "1:1,".repeat(size / 4))),
        ("slices", format!("a[{}]", "b:c:d,".repeat(size / 6))),
        ("lines that end with CR", "x = 1\r".repeat(size / 6)),
        ("lines with a form feed", "\x0cx = 1\n".repeat(size / 7)),
        ("an unclosed bracket at the start", format!("x = (\n{}", "if a:\n  b = [c]\n".repeat(size / 16))),
        ("an unclosed string at the start", format!("x = '''\n{}", "if a:\n  b = [c]\n".repeat(size / 16))),
        ("code in a string after an error", format!("(a b\n'''{}'''", "(".repeat(size))),
        ("code in an f-string after an error", format!("f'{{a b'\nf'''{}'''", "[lambda: ".repeat(size / 9))),
        ("prefixes in a string after an error", format!("f'{{(a b' '{}", "- ".repeat(size / 2))),
        ("strings after an error in an f-string", format!("f'{{a[' {} ']}}'", "'(' ".repeat(size / 4))),
        ("blocks of dedents", "if a:\n if b:\n  if c:\n   d\n".repeat(size / 26)),
        ("odd indentation", lines(&|number| format!("{}a\n", " ".repeat(number % 60)))),
        (
            "tabs and spaces",
            lines(&|number| if number % 2 == 0 { "if a:\n\tb\n".to_owned() } else { "if a:\n        b\n".to_owned() }),
        ),
    ];
    programs.push(("a long line of errors", "a b ".repeat(size / 4)));
    programs.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect()
}

/// Texts that are no UTF-8.
fn bytes(size: usize) -> Vec<(String, Vec<u8>)> {
    let with_cookie = |encoding: &str, byte: u8| {
        let mut text = format!("# coding: {encoding}\n").into_bytes();
        text.resize(size, byte);
        text
    };
    vec![
        ("NUL bytes".to_owned(), vec![0; size]),
        ("a NUL byte at the end".to_owned(), [vec![b'#'; size], vec![0]].concat()),
        ("broken UTF-8".to_owned(), vec![0xff; size]),
        ("broken UTF-8 at the end".to_owned(), [vec![b'#'; size], vec![0xc3]].concat()),
        ("overlong UTF-8".to_owned(), [0xc0, 0x80].repeat(size / 2)),
        ("Latin-1".to_owned(), with_cookie("latin-1", 0xe9)),
        ("no ASCII".to_owned(), with_cookie("ascii", 0xe9)),
        ("GBK".to_owned(), with_cookie("gbk", 0xe9)),
        ("no known encoding".to_owned(), with_cookie("klingon", 0xe9)),
        ("a long name of an encoding".to_owned(), with_cookie("a", b'a')),
        ("many declarations".to_owned(), b"coding coding ".repeat(size / 14)),
        ("many declarations in a comment".to_owned(), [b"#".to_vec(), b"coding".repeat(size / 6)].concat()),
        ("byte order marks".to_owned(), b"\xef\xbb\xbf".repeat(size / 3)),
        ("control characters".to_owned(), (0..size).map(|at| u8::try_from(at % 31 + 1).unwrap_or(1)).collect()),
        ("all bytes".to_owned(), (0..size).map(|at| u8::try_from(at % 255 + 1).unwrap_or(1)).collect()),
    ]
}
