//! A program does the same whether its interpreter was forked from a zygote or started for it.
//!
//! Each program of the tables runs in both ways, and everything that its author sees of it is compared. What is known
//! to differ, and what no row looks at:
//!
//! - `sys.modules` has more modules, and what their import leaves: filters of `warnings`, names of loggers;
//! - `os.getppid()` is 0, because the parent is outside of the box; /proc tells the zygote's arguments and variables;
//! - addresses and the hash seed are the zygote's; `gc.get_freeze_count()` is not 0;
//! - what a program has put into a module of the zygote's (`json.mark = …`) is not destroyed at the end, and a destructor
//!   that runs at the end can still import such a module: taking all of them apart takes up to 200 ms;
//! - a trace or profile function does not see functions of `atexit`;
//! - CPython decodes a source in UTF-16, which is none, with other words when it does not read it from a file.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};

use super::server::Server;
use crate::require;

/// A program and what else is asked for.
struct Row {
    name: &'static str,
    request: Value,
}

/// A name, a program, and a JSON object of what else is asked for, or nothing.
type Program = (&'static str, &'static str, &'static str);

impl Row {
    fn new(name: &'static str, code: &str, more: &str) -> Self {
        let mut request = json!({ "code": code, "timeout": 120 });
        if !more.is_empty() {
            let more: Map<String, Value> = serde_json::from_str(more).unwrap();
            request.as_object_mut().unwrap().extend(more);
        }
        Self { name, request }
    }

    /// The result on the warm and on the cold path, as far as it must be the same.
    fn run(&self, server: &Server) -> [Value; 2] {
        ["on", "off"].map(|zygote| {
            let mut request = self.request.clone();
            request["isolation"] = json!({ "zygote": zygote });
            let mut result = server.execute(&request).ok();
            // A syntax error ends before there is an interpreter.
            let path = result["start"]["path"].as_str().unwrap_or("none");
            assert!(path == "none" || (path == "cold") == (zygote == "off"), "{}: {path}", self.name);
            if let Some(termination) = result["termination"].as_object_mut() {
                // Times differ.
                termination.remove("peak");
            }
            let names =
                ["status", "exitCode", "stdout", "stderr", "error", "termination", "hints", "warnings", "limits"];
            let mut seen: Value = names.iter().map(|name| ((*name).to_owned(), result[*name].take())).collect();
            seen["truncated"] = result["truncated"].take();
            for name in ["deniedSyscalls", "oomKills"] {
                seen[name] = result["usage"][name].take();
            }
            without_addresses(&mut seen);
            seen
        })
    }
}

/// Replaces what Python prints as the addresses of objects.
fn without_addresses(value: &mut Value) {
    match value {
        Value::String(text) => {
            let mut parts = text.split("0x");
            let mut clean = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let rest = part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
                clean += if part.len() - rest.len() > 5 { "0x…" } else { "0x" };
                clean += if part.len() - rest.len() > 5 { rest } else { part };
            }
            *text = clean;
        }
        Value::Array(values) => values.iter_mut().for_each(without_addresses),
        Value::Object(values) => values.values_mut().for_each(without_addresses),
        _ => {}
    }
}

/// What two results differ in.
fn difference([warm, cold]: &[Value; 2]) -> Vec<String> {
    let names = warm.as_object().unwrap().keys().filter(|name| warm[*name] != cold[*name]);
    names.map(|name| format!("{name}\n  warm: {}\n  cold: {}", warm[name], cold[name])).collect()
}

/// Clients at the same time.
const CLIENTS: usize = 3;

#[test]
fn a_program_does_the_same_in_a_forked_and_in_a_fresh_interpreter() {
    if !require::default_tier() {
        return;
    }
    let server = Server::with(&[("MaxConcurrentExecutions", "16")]);
    server.wait_until_warm(&["bare", "numpy", "web", "pandas", "matplotlib", "scipy", "all"]);

    // A difference is seen where there is one.
    let known = Row::new("parent", "import os; print(os.getppid())", "").run(&server);
    assert_eq!(difference(&known), ["stdout\n  warm: \"0\\n\"\n  cold: \"1\\n\""]);

    let tables = [EXITS, ENDS, EXCEPTIONS, THREADS, STREAMS, MAIN, SOURCES, MODULES, PROCESSES, VERDICTS, PACKAGES];
    let mut rows: Vec<Row> = tables.concat().into_iter().map(|(name, code, more)| Row::new(name, code, more)).collect();
    rows.extend(long());
    let next = AtomicUsize::new(0);
    let client = || {
        let mut differences = Vec::new();
        while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = difference(&row.run(&server));
            differences.extend(found.into_iter().map(|found| format!("{}: {found}", row.name)));
        }
        differences
    };
    let differences: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    server.assert_next_works();
}

/// What is too long to be written out.
fn long() -> [Row; 4] {
    let stdin = json!({ "stdin": "x".repeat(300_000) }).to_string();
    [
        Row::new("long stdin", "import sys; print(len(sys.stdin.read()))", &stdin),
        Row::new("long line", &format!("x = '{}'\nprint(len(x))", "a".repeat(100_000)), ""),
        Row::new("exception in a long line", &format!("x = [{}]; 1/0", "1, ".repeat(30_000)), ""),
        Row::new("exception in a late line", &format!("{}1/0", "\n".repeat(20_000)), ""),
    ]
}

/// `SystemExit` and other ways to end at once.
const EXITS: &[Program] = &[
    ("exit zero", r#"import sys; print("before"); sys.exit(0)"#, ""),
    ("exit none", r#"import sys; print("before"); sys.exit(None)"#, ""),
    ("exit int", r#"import sys; print("before"); sys.exit(7)"#, ""),
    ("exit neg", r#"import sys; print("before"); sys.exit(-1)"#, ""),
    ("exit big", r#"import sys; print("before"); sys.exit(300)"#, ""),
    ("exit huge", r#"import sys; print("before"); sys.exit(10**30)"#, ""),
    ("exit str", r#"import sys; print("before"); sys.exit('message')"#, ""),
    ("exit float", r#"import sys; print("before"); sys.exit(1.5)"#, ""),
    (
        "exit obj",
        r#"import sys
class Bad:
    def __str__(self): raise ValueError("no text")
print("before"); sys.exit(Bad())"#,
        "",
    ),
    ("exit noarg", "import sys; sys.exit()", ""),
    ("exit attr", "e = SystemExit(1); e.code = 9; raise e", ""),
    (
        "exit sub",
        r"class E(SystemExit): pass
raise E(5)",
        "",
    ),
    (
        "exit codeprop",
        r#"class E(SystemExit):
    @property
    def code(self): raise ValueError("code")
raise E(5)"#,
        "",
    ),
    ("exit builtin", "exit(3)", ""),
    ("exit str unicode", r"import sys; sys.exit('中文\udcff')", ""),
    (
        "exit in thread",
        r#"import sys, threading
t = threading.Thread(target=lambda: sys.exit(3)); t.start(); t.join(); print("main goes on")"#,
        "",
    ),
    (
        "exit in atexit",
        r#"import atexit, sys
@atexit.register
def f(): print("atexit"); sys.exit(9)
"#,
        "",
    ),
    (
        "exit in atexit2",
        r#"import atexit, sys
atexit.register(lambda: print("first registered"))
@atexit.register
def f(): print("atexit"); sys.exit("text")
sys.exit(4)
"#,
        "",
    ),
    (
        "exit in function",
        r#"import sys
def f():
    try: sys.exit(4)
    finally: print("finally")
f()"#,
        "",
    ),
    ("exit stderr closed", "import sys; sys.stderr.close(); sys.exit('message')", ""),
    ("exit stderr none", "import sys; sys.stderr = None; sys.exit('message')", ""),
    (
        "exit stderr replaced",
        r#"import sys
class S:
    def write(self, t): sys.stdout.write(repr(t) + "\n")
    def flush(self): print("flushed")
sys.stderr = S(); sys.exit('message')"#,
        "",
    ),
    (
        "exit arg stdout order",
        r#"import os, sys
os.dup2(1, 2)
sys.stdout.write("partial ")
sys.exit("message")"#,
        "",
    ),
    ("os exit atexit", "import os, atexit; atexit.register(print, 'never'); os._exit(0)", ""),
    ("os abort", "import os; os.abort()", ""),
    (
        "excepthook thread exit",
        r#"import threading, sys
def f(): raise SystemExit("text in thread")
t = threading.Thread(target=f); t.start(); t.join(); print("end")"#,
        "",
    ),
];

/// What runs after the last line.
const ENDS: &[Program] = &[
    (
        "atexit order",
        r#"import atexit
for i in range(3): atexit.register(print, i)
atexit.unregister(None)
@atexit.register
def f(): atexit.register(print, "late")
print(atexit._ncallbacks())"#,
        "",
    ),
    (
        "atexit failing",
        r#"import atexit
atexit.register(print, "last")
@atexit.register
def broken(): raise ValueError("broken")
@atexit.register
def nested():
    try: 1/0
    except ZeroDivisionError as e: raise KeyError("k") from e
"#,
        "",
    ),
    (
        "atexit kbd",
        r#"import atexit
atexit.register(print, "last")
@atexit.register
def broken(): raise KeyboardInterrupt
"#,
        "",
    ),
    (
        "atexit failing with exception",
        r#"import atexit
@atexit.register
def broken(): raise ValueError("broken")
1/0
"#,
        "",
    ),
    (
        "atexit sees main",
        r#"import atexit, sys
value = 1
@atexit.register
def f(): print(value, sys.modules["__main__"].value, sys.exc_info(), getattr(sys, "last_value", None))
raise ValueError("x")
"#,
        "",
    ),
    (
        "atexit hook replaced",
        r#"import atexit, sys
def hook(u): print("hook", u.exc_type, u.exc_value, u.err_msg, u.object)
sys.unraisablehook = hook
@atexit.register
def broken(): raise ValueError("broken")
"#,
        "",
    ),
    (
        "atexit threads",
        r#"import atexit, threading
@atexit.register
def f():
    try:
        t = threading.Thread(target=print, args=("thread at exit",)); t.start(); t.join()
    except RuntimeError as e: print(e)
"#,
        "",
    ),
    (
        "del globals",
        r#"class D:
    def __init__(self, n): self.n = n
    def __del__(self): print("del", self.n)
a = D("a"); b = D("b"); _c = D("_c")
print("end")"#,
        "",
    ),
    (
        "del cycle",
        r#"class D:
    def __del__(self): print("del cycle", self.me is self)
d = D(); d.me = d
class E:
    def __del__(self): print("unreachable cycle")
e = E(); e.me = e; del e
print("end")"#,
        "",
    ),
    (
        "del uses globals",
        r#"import sys, os
VALUE = 3
class D:
    def __del__(self): print("del", VALUE, sys is not None, os.getcwd(), len(sys.argv))
d = D()
"#,
        "",
    ),
    (
        "del with exception",
        r#"class D:
    def __del__(self): print("del")
d = D()
def f(x): raise ValueError("with frame")
f(D())
"#,
        "",
    ),
    (
        "del sysexit",
        r#"import sys
class D:
    def __del__(self): print("del")
d = D()
def f(x): sys.exit(3)
f(D())
"#,
        "",
    ),
    (
        "del raises",
        r#"class D:
    def __del__(self): raise ValueError("in del")
d = D()
"#,
        "",
    ),
    (
        "del sysexit in del",
        r#"import sys
class D:
    def __del__(self): sys.exit(5)
d = D(); print("x")
"#,
        "",
    ),
    (
        "del user module",
        r#"open("helper.py", "w").write('''
class D:
    def __init__(self, n): self.n = n
    def __del__(self): print("del in helper", self.n, NAME, __name__)
NAME = "helper name"
d = D("d")
c = D("cycle"); c.me = c
''')
import helper
x = helper.D("in main")
print("end")"#,
        "",
    ),
    (
        "del two modules",
        r#"open("one.py", "w").write('''
class D:
    def __init__(self, n): self.n = n
    def __del__(self): print("del", self.n)
d = D("one")
''')
open("two.py", "w").write('''
import one
d = one.D("two")
''')
import one, two
d = one.D("main")
"#,
        "",
    ),
    (
        "del package",
        r#"import os
os.mkdir("pack"); open("pack/__init__.py", "w").write("from . import inner")
open("pack/inner.py", "w").write('''
class D:
    def __del__(self): print("del", __name__)
d = D()
''')
import pack
"#,
        "",
    ),
    (
        "del on builtins",
        r#"import builtins
class D:
    def __init__(self, n): self.n = n
    def __del__(self): print("del", self.n)
builtins.thing = D("builtins")
"#,
        "",
    ),
    (
        "del on sys",
        r#"import sys
class D:
    def __init__(self, n): self.n = n
    def __del__(self): print("del", self.n)
sys.thing = D("sys")
"#,
        "",
    ),
    (
        "del kept by stdlib",
        r#"import functools, json, re, weakref
class D:
    def __init__(self, n): self.n = n
    def __del__(self): print("del", self.n)
@functools.lru_cache
def f(d): return d
f(D("cached"))
import logging
h = logging.StreamHandler(); h.thing = D("handler"); logging.getLogger().addHandler(h)
"#,
        "",
    ),
    (
        "del thread local",
        r#"import threading
class D:
    def __del__(self): print("del local")
l = threading.local(); l.d = D()
"#,
        "",
    ),
    (
        "del order refs",
        r#"class D:
    def __init__(self, n, *o): self.n = n; self.o = o
    def __del__(self): print("del", self.n)
inner = D("inner"); outer = D("outer", inner); z = [outer]; _p = D("_p"); f = lambda: outer
"#,
        "",
    ),
    (
        "del in class attr",
        r#"class D:
    def __init__(self, n): self.n = n
    def __del__(self): print("del", self.n)
class C: x = D("class attr")
def f(d=D("default")): pass
"#,
        "",
    ),
    (
        "del many",
        r"class Node:
    def __init__(self, n): self.n = n; self.peers = []
    def __del__(self): out.append(self.n); (len(out) == 50) and print(sorted(out))
out = []
nodes = [Node(i) for i in range(50)]
for a in nodes: a.peers = nodes
del a
",
        "",
    ),
    (
        "del gc disabled",
        r#"import gc
gc.disable()
class D:
    def __del__(self): print("del")
d = D(); d.d = d; del d; print("end")"#,
        "",
    ),
    (
        "import in del new",
        r"class D:
    def __del__(self):
        try:
            import colorsys
            print(colorsys.__name__)
        except BaseException as e: print(type(e), e)
d = D()",
        "",
    ),
    (
        "open in del",
        r#"class D:
    def __del__(self):
        try: print(open("/work/main.py").read()[:5])
        except BaseException as e: print(type(e), e)
d = D()"#,
        "",
    ),
    (
        "is finalizing",
        r#"import sys, atexit
atexit.register(lambda: print(sys.is_finalizing()))
class D:
    def __del__(self): print("del", sys.is_finalizing())
d = D()"#,
        "",
    ),
    (
        "generator finally",
        r#"def f():
    try: yield 1
    finally: print("generator closed")
g = f(); next(g); print("end")"#,
        "",
    ),
    (
        "async gen exit",
        r#"async def g():
    try: yield 1
    finally: print("finally")
a = g()
try: a.__anext__().send(None)
except StopIteration as e: print(e)
"#,
        "",
    ),
    (
        "coro pending exit",
        r#"async def f():
    try: await X()
    finally: print("finally")
class X:
    def __await__(self): yield 1
c = f(); print(c.send(None))"#,
        "",
    ),
    (
        "weakref finalize",
        r#"import weakref, atexit
class D: pass
d = D(); e = D()
weakref.finalize(d, print, "finalized d")
f = weakref.finalize(e, print, "finalized e"); f.atexit = False
atexit.register(print, "atexit")
print(f.alive)
"#,
        "",
    ),
    (
        "weakref callback rev",
        r#"import weakref
class D: pass
d = D()
import builtins
R = [weakref.ref(d, lambda r: print("callback"))]
class K:
    def __del__(self): print("K", d)
k = K()
"#,
        "",
    ),
    (
        "unflushed file",
        r#"import os, atexit
f = open("/work/out", "w"); f.write("buffered")
class Check:
    def __del__(self):
        pass
r, w = os.pipe()
pid = os.fork()
if pid:
    os.close(w); os.waitpid(pid, 0)
    print(repr(open("/work/out").read()))
    f.close()
    os._exit(0)
"#,
        "",
    ),
    (
        "unflushed file2",
        r#"import os
r, w = os.pipe()
if os.fork():
    os.close(w); os.read(r, 1); os.wait()
    print(repr(open("/work/out").read())); os._exit(0)
os.close(r)
f = open("/work/out", "w"); f.write("buffered by a program that ends")
"#,
        "",
    ),
    (
        "stdout file at exit",
        r#"import os, sys
r, w = os.pipe()
if os.fork():
    os.close(w); os.read(r, 1); os.wait()
    print(repr(open("/work/out").read())); os._exit(0)
os.close(r)
sys.stdout = open("/work/out", "w"); print("to a file")
"#,
        "",
    ),
    (
        "resource warning",
        r#"import warnings
warnings.simplefilter("always")
f = open("/work/out", "w"); f.write("x")
"#,
        "",
    ),
    (
        "warn coroutine exit",
        r"async def f(): pass
x = f()
print(1)",
        "",
    ),
    (
        "warn at exit",
        r#"import warnings, atexit
atexit.register(lambda: warnings.warn("at exit"))
class D:
    def __del__(self): warnings.warn("in del")
d = D()"#,
        "",
    ),
    (
        "logging at exit",
        r#"import logging, atexit
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
atexit.register(logging.info, "at exit")
class D:
    def __del__(self): logging.info("in del")
d = D()"#,
        "",
    ),
    (
        "asyncio pending",
        r"import asyncio
async def f(): await asyncio.sleep(10)
async def main():
    global t
    t = asyncio.create_task(f()); await asyncio.sleep(0)
loop = asyncio.new_event_loop(); loop.run_until_complete(main())
",
        "",
    ),
    (
        "asyncio never retrieved",
        r#"import asyncio
async def f(): raise ValueError("never retrieved")
async def main():
    global t
    t = asyncio.create_task(f()); await asyncio.sleep(0)
asyncio.run(main())
"#,
        "",
    ),
    (
        "unraisable at exit hook",
        r#"import sys
def hook(u): print("hook", u.exc_value, u.err_msg)
sys.unraisablehook = hook
class D:
    def __del__(self): raise ValueError("v")
d = D()"#,
        "",
    ),
    (
        "gc callbacks",
        r#"import gc
gc.callbacks.append(lambda p, i: print(p, i["generation"]))"#,
        "",
    ),
    (
        "main deleted",
        r#"import sys
del sys.modules["__main__"]
x = 1
print(x)
class D:
    def __del__(self): print("del")
d = D()"#,
        "",
    ),
    (
        "main replaced",
        r#"import sys, types
sys.modules["__main__"] = types.ModuleType("other")
x = 1
print(x)
class D:
    def __del__(self): print("del")
d = D()"#,
        "",
    ),
    (
        "modules non module",
        r#"import sys
class D:
    def __del__(self): print("del", type(self).__name__)
sys.modules["odd"] = D(); sys.modules["odder"] = None
import odd; print(type(odd))"#,
        "",
    ),
    (
        "modules cleared",
        r#"import sys
sys.modules.clear()
print("x")"#,
        "",
    ),
    (
        "builtins replaced",
        r#"import builtins
old = builtins.print
builtins.print = lambda *a: old("wrapped", *a)
print("x")
class D:
    def __del__(self): print("del")
d = D()"#,
        "",
    ),
    (
        "builtins deleted",
        r"import builtins
del builtins.print
del builtins.getattr, builtins.isinstance, builtins.setattr
",
        "",
    ),
    (
        "stdlib broken",
        r"import functools, operator, gc, threading, atexit, weakref, types, os
for m in (functools, operator, gc, threading, weakref, types, os): m.__dict__.clear()
",
        "",
    ),
    (
        "stdlib patched",
        r#"import functools, gc, sys
functools.partial = None; gc.collect = None; sys.getrefcount = None
class D:
    def __del__(self): print("del")
d = D()"#,
        "",
    ),
    (
        "settrace",
        r"import sys
def t(f, e, a): print(e, f.f_code.co_name); return t
sys.settrace(t)
def g(): return 1
g()
",
        "",
    ),
    (
        "setprofile",
        r"import sys
def t(f, e, a): print(e, f.f_code.co_name)
sys.setprofile(t)
def g(): return 1
g()
",
        "",
    ),
    (
        "fork child exits",
        r#"import os, sys
print("start")
pid = os.fork()
if pid == 0:
    print("child", os.getpid()); sys.exit(3)
print("parent", os.waitpid(pid, 0))
"#,
        "",
    ),
    (
        "fork child exception",
        r#"import os, sys
pid = os.fork()
if pid == 0:
    raise ValueError("in child")
print("parent", os.waitpid(pid, 0)); raise KeyError("in parent")
"#,
        "",
    ),
    (
        "fork child atexit",
        r#"import os, sys, atexit
atexit.register(lambda: print("atexit in", "child" if child else "parent"))
child = False
pid = os.fork()
if pid == 0:
    child = True
else:
    print(os.waitpid(pid, 0))
"#,
        "",
    ),
    (
        "sigint pending end",
        r#"import signal, os, atexit
@atexit.register
def f(): os.kill(os.getpid(), signal.SIGINT)
class D:
    def __del__(self): print("del")
d = D()"#,
        "",
    ),
];

/// What is not caught, and signals.
const EXCEPTIONS: &[Program] = &[
    ("uncaught", "1/0", ""),
    (
        "uncaught chain",
        r#"def f():
    try: {}["a"]
    except KeyError as e: raise ValueError("second") from e
try: f()
except ValueError: raise RuntimeError("third")
"#,
        "",
    ),
    (
        "uncaught suppressed",
        r#"try: 1/0
except ZeroDivisionError: raise ValueError("x") from None
"#,
        "",
    ),
    ("uncaught notes", r#"e = ValueError("with\nlines"); e.add_note("note 1"); e.add_note("note 2"); raise e"#, ""),
    ("uncaught group", r#"raise ExceptionGroup("g", [ValueError(1), ExceptionGroup("h", [KeyError("k")])])"#, ""),
    (
        "uncaught recursion",
        r"def f(): f()
f()",
        "",
    ),
    (
        "uncaught recursion depth",
        r"import sys
depth = 0
def f():
    global depth
    depth += 1
    f()
try: f()
except RecursionError: print(depth)",
        "",
    ),
    (
        "uncaught in class",
        r#"class A:
    def m(self):
        raise OSError(2, "nope", "file")
A().m()"#,
        "",
    ),
    (
        "uncaught str fails",
        r#"class E(Exception):
    def __str__(self): raise ValueError("str")
raise E"#,
        "",
    ),
    (
        "uncaught base",
        r"class B(BaseException): pass
raise B('b')",
        "",
    ),
    (
        "uncaught in module",
        r#"open("bad.py", "w").write("def f():\n    return 1/0\n")
import bad
bad.f()"#,
        "",
    ),
    (
        "import error",
        r"open('bad.py', 'w').write('x = (\n')
import bad",
        "",
    ),
    ("import missing", "n='no_such_x'; __import__(n)", ""),
    (
        "name suggest",
        r"value = 1
print(valu)",
        "",
    ),
    (
        "syntax exec2",
        r"def f():
    exec('a b')
f()",
        "",
    ),
    ("syntax raise", "raise SyntaxError('msg', ('/work/main.py', 1, 5, 'raise SyntaxError', 1, 7))", ""),
    (
        "syntax main",
        r"x = 1
if x = 2:
  pass",
        "",
    ),
    ("indent exec", r"exec('if 1:\nx')", ""),
    ("unicode error", r"'\udcff'.encode()", ""),
    ("print surrogate", r"print('\udcff')", ""),
    ("deep nesting", "exec('(' * 300 + ')' * 300)", ""),
    (
        "excepthook",
        r#"import sys
def hook(kind, value, trace): print("hook", kind.__name__, value, trace.tb_lineno)
sys.excepthook = hook
1/0"#,
        "",
    ),
    (
        "excepthook fails",
        r#"import sys
def hook(kind, value, trace): raise KeyError("hook")
sys.excepthook = hook
1/0"#,
        "",
    ),
    (
        "excepthook deleted",
        r"import sys
del sys.excepthook
1/0",
        "",
    ),
    (
        "excepthook none",
        r"import sys
sys.excepthook = None
1/0",
        "",
    ),
    (
        "hook raises kbd",
        r"import sys
def hook(*a): raise KeyboardInterrupt
sys.excepthook = hook
1/0",
        "",
    ),
    (
        "hook raises exit text",
        r#"import sys
def hook(*a): sys.exit("bye")
sys.excepthook = hook
1/0"#,
        "",
    ),
    (
        "hook exit atexit",
        r#"import sys, atexit
atexit.register(print, "atexit")
def hook(*a): print("hook"); sys.exit(7)
class D:
    def __del__(self): print("del")
d = D()
sys.excepthook = hook
1/0"#,
        "",
    ),
    (
        "stderr none exc",
        r"import sys
sys.stderr = None
1/0",
        "",
    ),
    (
        "stderr del exc",
        r"import sys
del sys.stderr
1/0",
        "",
    ),
    (
        "unraisablehook",
        r#"import sys
def hook(u): print("hook", u.exc_type.__name__, u.exc_value, u.err_msg, u.object.__qualname__)
sys.unraisablehook = hook
class D:
    def __del__(self): raise ValueError("v")
d = D(); del d
e = D()"#,
        "",
    ),
    (
        "thread exception",
        r#"import threading
def f(): raise ValueError("in thread")
t = threading.Thread(target=f, name="worker"); t.start(); t.join(); print("end")"#,
        "",
    ),
    (
        "thread excepthook",
        r#"import threading
threading.excepthook = lambda a: print("hook", a.exc_type, a.exc_value, a.thread.name)
t = threading.Thread(target=lambda: 1/0); t.start(); t.join(); print("end")"#,
        "",
    ),
    (
        "last value",
        r"import sys, atexit
@atexit.register
def f(): print(sys.last_type, sys.last_value, sys.last_traceback.tb_lineno)
1/0",
        "",
    ),
    (
        "context after",
        "import sys; print(sys.exc_info(), getattr(sys, 'last_type', 'none'), sys.exception() if hasattr(sys, 'exception') else '')",
        "",
    ),
    (
        "sig handler raises",
        r"import os, signal
def h(n, f): raise ValueError(n)
signal.signal(signal.SIGTERM, h)
os.kill(os.getpid(), 15)
print(1)",
        "",
    ),
    ("kbd raise", "raise KeyboardInterrupt", ""),
    ("kbd raise msg", "raise KeyboardInterrupt('msg')", ""),
    (
        "kbd sub",
        r"class K(KeyboardInterrupt): pass
raise K('x')",
        "",
    ),
    (
        "kbd signal",
        r"import os, signal, time
os.kill(os.getpid(), signal.SIGINT)
time.sleep(1)",
        "",
    ),
    (
        "kbd signal fn",
        r"import os, signal, time, atexit
atexit.register(print, 'atexit')
def f():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
f()",
        "",
    ),
    (
        "kbd caught",
        r"import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
except KeyboardInterrupt as e: print('caught', repr(e))",
        "",
    ),
    (
        "kbd del",
        r#"class D:
    def __del__(self): print("del")
d = D()
raise KeyboardInterrupt"#,
        "",
    ),
    (
        "kbd ignored",
        r"import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
raise KeyboardInterrupt",
        "",
    ),
    (
        "kbd excepthook",
        r#"import sys
sys.excepthook = lambda *a: print("hook", a[0])
raise KeyboardInterrupt"#,
        "",
    ),
    (
        "kbd hook fails",
        r#"import sys
def hook(*a): raise ValueError("hook")
sys.excepthook = hook
raise KeyboardInterrupt"#,
        "",
    ),
    (
        "kbd atexit exit",
        r"import atexit, os
atexit.register(lambda: os._exit(3))
raise KeyboardInterrupt",
        "",
    ),
    (
        "sig TERM",
        r"import os, signal, time
print('before')
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.01)
print('after')",
        "",
    ),
    (
        "sig PIPE",
        r"import os, signal, time
print('before')
os.kill(os.getpid(), signal.SIGPIPE)
time.sleep(0.01)
print('after')",
        "",
    ),
    (
        "sig SEGV",
        r"import os, signal, time
print('before')
os.kill(os.getpid(), signal.SIGSEGV)
time.sleep(0.01)
print('after')",
        "",
    ),
    (
        "sig KILL",
        r"import os, signal, time
print('before')
os.kill(os.getpid(), signal.SIGKILL)
time.sleep(0.01)
print('after')",
        "",
    ),
    (
        "sig USR1",
        r"import os, signal, time
print('before')
os.kill(os.getpid(), signal.SIGUSR1)
time.sleep(0.01)
print('after')",
        "",
    ),
    (
        "sigterm handler exit",
        r"import signal, sys, os
signal.signal(signal.SIGTERM, lambda *a: sys.exit(7))
os.kill(os.getpid(), 15)
while True: pass",
        "",
    ),
];

/// Threads that are there at the end.
const THREADS: &[Program] = &[
    (
        "thread daemon",
        r#"import threading, time
def f():
    print("daemon", flush=True)
    time.sleep(60)
threading.Thread(target=f, daemon=True).start(); time.sleep(0.1); print("end")"#,
        "",
    ),
    (
        "thread daemon busy",
        r#"import threading, time
def f():
    while True: pass
threading.Thread(target=f, daemon=True).start(); time.sleep(0.05); print("end")"#,
        "",
    ),
    (
        "daemon imports",
        r#"import threading, time, importlib
def f():
    while True:
        open("/work/main.py").close(); len(globals()); importlib.import_module("json"); name.x
class N: x = 1
name = N()
threading.Thread(target=f, daemon=True).start(); time.sleep(0.05); print("end")
class D:
    def __del__(self): print("del"); time.sleep(0.02)
d = D()"#,
        "",
    ),
    (
        "daemon kbd",
        r"import threading, time
threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
raise KeyboardInterrupt",
        "",
    ),
    (
        "daemon exit",
        r"import threading, time, sys
threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
sys.exit(5)",
        "",
    ),
    (
        "thread nondaemon",
        r#"import threading, time, atexit
atexit.register(print, "atexit")
class D:
    def __del__(self): print("del")
d = D()
def f(): time.sleep(0.2); print("thread ends", threading.main_thread().is_alive())
threading.Thread(target=f).start(); print("main ends")"#,
        "",
    ),
    (
        "thread nondaemon exit",
        r#"import threading, time, sys
def f(): time.sleep(0.2); print("thread ends")
threading.Thread(target=f).start(); sys.exit("bye")"#,
        "",
    ),
    (
        "thread kbd at shutdown",
        r#"import threading, time, os, signal
def f(): time.sleep(0.1); os.kill(os.getpid(), signal.SIGINT); time.sleep(0.2); print("thread ends")
threading.Thread(target=f).start(); print("main ends")"#,
        "",
    ),
    (
        "pool forgotten",
        r#"import concurrent.futures as c
e = c.ThreadPoolExecutor(2); e.submit(print, "x").result(); print("end")"#,
        "",
    ),
    (
        "thread pool forgotten",
        r"from multiprocessing.pool import ThreadPool
p = ThreadPool(2); print(p.map(abs, [-1]))",
        "",
    ),
];

/// Standard streams.
const STREAMS: &[Program] = &[
    ("stdin input", "print(input('prompt> '), input()); print(input())", r#"{"stdin": "a\nb\n"}"#),
    ("stdin read", "import sys; print(repr(sys.stdin.read()), repr(sys.stdin.read()))", r#"{"stdin": "a\nü\r\nb"}"#),
    (
        "stdin iter",
        r"import sys
for line in sys.stdin: print(repr(line))
print(sys.stdin.readline() == '')",
        r#"{"stdin": "a\nb\r\nc"}"#,
    ),
    (
        "stdin bytes",
        "import sys; print(sys.stdin.buffer.read(3), sys.stdin.buffer.readline())",
        r#"{"stdin": "äöü\nx"}"#,
    ),
    ("stdin none", "import sys; print(repr(sys.stdin.read()))", ""),
    (
        "std streams",
        r#"import sys, os, io
for s in (sys.stdin, sys.stdout, sys.stderr):
    def t(f):
        try: return f()
        except Exception as e: return repr(e)
    print(s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.write_through, s.newlines, s.isatty(), s.seekable(), s.readable(), s.writable(), s.fileno(), s.closed, type(s), type(s.buffer), type(s.buffer.raw), t(s.tell), s.buffer.raw.closefd, s.buffer.raw.mode, s.buffer.raw.name, s.buffer.raw.closefd, getattr(s, "_CHUNK_SIZE", None))
print(sys.__stdin__ is sys.stdin, sys.__stdout__ is sys.stdout, sys.__stderr__ is sys.stderr)
print([oct(os.fstat(i).st_mode) for i in range(3)], [os.get_inheritable(i) for i in range(3)], [os.get_blocking(i) for i in range(3)])
"#,
        "",
    ),
    (
        "fd flags",
        r"import fcntl
for i in range(4): print(i, fcntl.fcntl(i, fcntl.F_GETFL), fcntl.fcntl(i, fcntl.F_GETFD))
import os
print(sorted(os.listdir('/proc/self/fd')))",
        "",
    ),
    ("stdout close", "import sys; print('a'); sys.stdout.close()", ""),
    ("stdout close print", "import sys; print('a'); sys.stdout.close(); print('b')", ""),
    ("stdout os close", "import os; print('a', end=''); os.close(1)", ""),
    ("stderr os close", "import os, sys; print('a'); os.close(2); 1/0", ""),
    (
        "stdout broken",
        r#"import sys
class W:
    def write(self, t): return len(t)
    def flush(self): raise ValueError("flush fails")
sys.stdout = W(); print("x")"#,
        "",
    ),
    (
        "stderr broken",
        r#"import sys
class W:
    def write(self, t): return len(t)
    def flush(self): raise ValueError("flush fails")
sys.stderr = W(); print("x")"#,
        "",
    ),
    (
        "stdout broken exit",
        r#"import sys
class W:
    def write(self, t): return len(t)
    def flush(self): raise ValueError("flush fails")
sys.stdout = W(); sys.exit(3)"#,
        "",
    ),
    (
        "stdout broken exc",
        r#"import sys
class W:
    def write(self, t): return len(t)
    def flush(self): raise ValueError("flush fails")
sys.stdout = W(); 1/0"#,
        "",
    ),
    (
        "stdout closed raises",
        r#"import sys
class W:
    @property
    def closed(self): raise ValueError("closed")
    def write(self, t): return len(t)
    def flush(self): raise ValueError("flush fails")
sys.stdout = W()"#,
        "",
    ),
    (
        "stdout flush counts",
        r#"import sys, os
class W:
    def write(self, t): return len(t)
    def flush(self): os.write(1, b"flush\n")
sys.stdout = W()"#,
        "",
    ),
    (
        "stdout del",
        r"import sys
del sys.stdout
try: print(1)
except RuntimeError as e: sys.stderr.write(str(e))
",
        "",
    ),
    (
        "stdout none",
        r"import sys
sys.stdout = None
print(1)
",
        "",
    ),
    ("stdout full", "import sys; sys.stdout = open('/dev/full', 'w'); print('x')", ""),
    (
        "stdout dup full",
        "import sys, os; print('a'); os.dup2(os.open('/dev/full', os.O_WRONLY), 1); sys.stdout.write('x')",
        "",
    ),
    (
        "stderr dup full",
        "import sys, os; print('a'); os.dup2(os.open('/dev/full', os.O_WRONLY), 2); sys.stderr.write('x')",
        "",
    ),
    (
        "stdout pipe closed",
        r#"import os, sys
r, w = os.pipe(); os.dup2(w, 1); os.close(w); os.close(r)
sys.stdout.write("x")"#,
        "",
    ),
    (
        "buffered wrapper",
        r#"import sys, io
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, "latin-1")
print("no flush by me")"#,
        "",
    ),
    (
        "detach",
        r"import sys
b = sys.stdout.detach(); b.write(b'raw'); b.flush()",
        "",
    ),
    (
        "stderr order",
        r#"import sys
for i in range(5): print("out", i); print("err", i, file=sys.stderr)"#,
        "",
    ),
    (
        "dup2 order",
        r#"import os, sys
os.dup2(1, 2)
sys.stdout.write("partial ")
1/0"#,
        "",
    ),
    (
        "buffer write",
        r"import sys; sys.stdout.buffer.write(b'\xff\x00\n'); print('x'); sys.stdout.buffer.write(b'end')",
        "",
    ),
    ("partial no flush", r"import os, sys; sys.stdout.write('part'); os.write(1, b'raw\n')", ""),
    (
        "megabytes",
        r"import sys
for i in range(3000): print('y' * 1023)",
        "",
    ),
    (
        "open default encoding",
        "import locale, sys, io; f = open('x', 'w'); print(f.encoding, f.errors, locale.getpreferredencoding(), locale.getlocale(), locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(), sys.getdefaultencoding(), io.text_encoding(None), locale.getencoding())",
        "",
    ),
];

/// What a program sees of itself, of its interpreter and of its process.
const MAIN: &[Program] = &[
    (
        "main attrs",
        r#"import sys
m = sys.modules["__main__"]
names = list(globals())
print(names)
for n in ("__name__", "__doc__", "__package__", "__spec__", "__annotations__", "__builtins__", "__file__", "__cached__"): print(n, globals().get(n, "missing"))
print(type(__loader__), __loader__.name, __loader__.path, m.__dict__ is globals(), type(m), repr(m))"#,
        "",
    ),
    (
        "main doc",
        r#""""docstring"""
x: int = 1
y: "str"
print(__doc__, __annotations__)"#,
        "",
    ),
    (
        "main future",
        r#""""d"""
from __future__ import annotations
x: undefined = 1
print(__doc__, __annotations__, annotations)
def f(a: nothing): pass
print(f.__annotations__)"#,
        "",
    ),
    (
        "main getsource",
        r"import inspect
def f():
    # comment
    return 1
class C:
    x = 2
print(inspect.getsource(f), inspect.getsource(C), inspect.getfile(f), inspect.getmodule(f), inspect.getsourcefile(f))
print(inspect.getsource(inspect.getmodule(f))[:14], len(inspect.stack()))",
        "",
    ),
    (
        "main loader get source",
        "print(__loader__.get_source('__main__')[:10], __loader__.get_filename('__main__'), __loader__.is_package('__main__'), __loader__.get_code('__main__').co_filename)",
        "",
    ),
    (
        "main file",
        "import os; print(open(__file__).read(), oct(os.stat(__file__).st_mode), os.stat(__file__).st_uid, os.stat(__file__).st_gid, os.stat(__file__).st_nlink, os.listdir('.'), os.access(__file__, os.W_OK))",
        "",
    ),
    (
        "main file write",
        r"open(__file__, 'a').write('#x')
print(open(__file__).read())
import os; os.rename(__file__, 'other'); os.unlink('other'); print(os.listdir())",
        "",
    ),
    (
        "frames",
        r"import sys
f = sys._getframe()
print(f.f_back, f.f_code.co_name, f.f_code.co_filename, f.f_lineno, f.f_globals is globals(), f.f_locals is globals(), f.f_builtins is __builtins__.__dict__)",
        "",
    ),
    (
        "traceback depth",
        r"import traceback, sys
def f(): return len(traceback.extract_stack()), len(traceback.format_stack())
print(f()); traceback.print_stack()
try: 1/0
except ZeroDivisionError: traceback.print_exc()",
        "",
    ),
    (
        "sys values",
        r#"import sys
print(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.executable, sys.prefix, sys.base_prefix, sep="\n")
print(sys.exec_prefix, sys.base_exec_prefix, sys._base_executable, sys.pycache_prefix, sys.warnoptions, sys._xoptions)
print(sys.getrecursionlimit(), sys.getswitchinterval(), sys.dont_write_bytecode, sys.get_int_max_str_digits())
print(sys.thread_info, sys.getdlopenflags(), sys.get_asyncgen_hooks(), sys.is_finalizing(), sys.version)
print(sys.gettrace(), sys.getprofile(), sys.displayhook, sys.breakpointhook, sys.unraisablehook, hasattr(sys, "ps1"))
print(sorted(vars(sys)), sys.meta_path, sys.path_hooks, sys.path_importer_cache.get(__file__, "no entry"), sep="\n")
print([name for name in sys.modules if "sandbox" in name], sys.modules["__main__"].__dict__ is globals())"#,
        r#"{"args": ["a", "--b", "c d"]}"#,
    ),
    ("sys values noargs", "import sys; print(sys.argv, sys.orig_argv)", ""),
    (
        "os environ",
        "import os; print(sorted(os.environ.items())); print(len(os.environb))",
        r#"{"env": {"B": "2", "A": "ü", "EMPTY": "", "PATH": "/x"}}"#,
    ),
    (
        "env subprocess",
        "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'import os; print(sorted(os.environ.items()))'], capture_output=True, text=True))",
        r#"{"env": {"Q": "1"}}"#,
    ),
    (
        "cpus 2",
        "import os; print(sorted(os.environ.items()), os.cpu_count(), len(os.sched_getaffinity(0)))",
        r#"{"resources": {"cpuLimit": "2"}}"#,
    ),
    (
        "interpreter state",
        r"import decimal, gc, locale, logging, os, signal, threading, time, warnings
print(gc.get_threshold(), gc.isenabled(), gc.get_debug(), gc.callbacks, gc.garbage)
print(decimal.getcontext(), warnings.filters, warnings.defaultaction)
print(logging.root, logging.root.handlers, logging.lastResort)
print(locale.getlocale(), locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(), time.tzname)
main, ident = threading.main_thread(), threading.get_ident()
print(main.name, main.ident == ident, main.native_id == os.getpid(), threading.active_count(), threading.stack_size())
for number in sorted(signal.valid_signals()):
    print(int(number), signal.getsignal(number))
print(signal.pthread_sigmask(0, []), signal.sigpending(), signal.set_wakeup_fd(-1), signal.getitimer(0))
import faulthandler, tracemalloc, asyncio
print(faulthandler.is_enabled(), tracemalloc.is_tracing(), type(asyncio.get_event_loop_policy()).__name__)",
        "",
    ),
    (
        "process state",
        r#"import os, re, resource
print(os.getcwd(), os.listdir("."), os.listdir("/"), os.listdir("/tmp"), os.listdir("/dev/shm"), os.listdir("/dev"))
mask = os.umask(0); print(oct(mask)); os.umask(mask)
print(os.getresuid(), os.getresgid(), os.getgroups(), os.getpid(), os.getpgid(0), os.getsid(0), os.uname()[:2])
print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), os.sched_getaffinity(0), os.cpu_count())
# Known differences: the parent is outside, there are two filters instead of one, and a table of files may be larger.
for line in open("/proc/self/status"):
    if re.match("Name|Umask|Tgid|Pid|TracerPid|Uid|Gid|Groups|NS|Threads|Sig|Shd|Cap|NoNewPrivs|Seccomp:", line):
        print(line, end="")
for name in "personality oom_score_adj coredump_filter cgroup timerslack_ns limits".split():
    print(name, open("/proc/self/" + name).read())
print(re.sub(r"loop\d+|\d+", "N", open("/proc/self/mountinfo").read()))
print([os.readlink("/proc/self/" + name) for name in ("exe", "cwd", "root")])
print(sorted(os.listdir("/proc/self/ns")), [name for name in os.listdir("/proc") if name.isdigit()])"#,
        "",
    ),
    (
        "rlimits",
        r"import resource
for n in sorted(dir(resource)):
    if n.startswith('RLIMIT_'): print(n, resource.getrlimit(getattr(resource, n)))",
        r#"{"resources": {"cpuTime": 5, "processLimit": 30, "diskLimit": "64Mi", "memoryLimit": "200Mi"}}"#,
    ),
    (
        "disk sizes",
        r"import os
for p in ('/work', '/tmp', '/dev/shm', '/'):
    s = os.statvfs(p); print(p, s.f_blocks * s.f_frsize, s.f_bsize, s.f_files, s.f_flag)",
        r#"{"resources": {"diskLimit": "64Mi"}}"#,
    ),
    (
        "builtins site",
        r"print(help, exit, quit, copyright, credits, type(license)); print(sorted(dir(__builtins__)))
import builtins; print(hasattr(builtins, '_'))",
        "",
    ),
    (
        "builtins import",
        "import builtins; print(__import__.__name__, builtins.open, builtins.print, builtins.input, builtins.__build_class__)",
        "",
    ),
    (
        "audit all",
        r#"import sys, os
names = []
sys.addaudithook(lambda e, a: os.write(2, (e + "\n").encode()) if on else None)
on = True
x = D = 1
"#,
        "",
    ),
];

/// Encodings and forms of the source.
const SOURCES: &[Program] = &[
    (
        "cookie latin1",
        r"# -*- coding: latin-1 -*-
print('é', len('é'), ascii('é'))",
        "",
    ),
    (
        "cookie second",
        r"#!/usr/bin/python
# vim: set fileencoding=iso-8859-15 :
print(ascii('€'))",
        "",
    ),
    (
        "cookie cp1252",
        r"# coding: cp1252
print(ascii('é'))",
        "",
    ),
    (
        "cookie koi",
        r"# coding: koi8-r
print(ascii('é'))",
        "",
    ),
    (
        "cookie getsource",
        r"# coding: latin-1
import inspect
def f(): return 'é'
print(inspect.getsource(f)); 1/0 # é",
        "",
    ),
    ("crlf", "x = '''a\r\nb'''\r\nprint(repr(x))\r\nif x:\r\n    print(1)\r\n1/0\r\n", ""),
    ("cr", "x = 1\rprint(x)\r", ""),
    ("bom", "\u{feff}print('bom', __doc__)", ""),
    ("bom cookie", "\u{feff}# coding: utf-8\nprint('é')", ""),
    ("formfeed", "\u{c}x = 1\n\u{c}print(x)\nif x:\n\u{c}    print(2)\n", ""),
    (
        "no newline",
        r"print(1)
#",
        "",
    ),
    ("empty", "", ""),
    (
        "tabs",
        r"if 1:
	print(1)
        
",
        "",
    ),
];

/// Imports, warnings and what reads the source again.
const MODULES: &[Program] = &[
    (
        "sys path import",
        r#"import sys, os
print(sys.path[0], sys.path_importer_cache.get('/work'))
open("later.py", "w").write("v = 1")
import later; print(later.__file__, later.__cached__, later.__spec__.origin, os.listdir("/work"), later.__spec__.loader)"#,
        "",
    ),
    (
        "import user module",
        r#"open("mod.py", "w").write("print('imported', __name__)\nx = 1")
import mod, importlib; print(mod.x, mod); importlib.reload(mod)"#,
        "",
    ),
    (
        "import user shadow",
        r#"open("random.py", "w").write("v = 'shadow'")
import random; print(getattr(random, "v", "real"))"#,
        "",
    ),
    (
        "import namespace",
        r"import os; os.mkdir('ns'); open('ns/a.py','w').write('v=1')
import ns.a; print(ns, ns.a.v)",
        "",
    ),
    (
        "runpy",
        r#"import runpy, sys
open("second.py", "w").write("import sys; print(__name__, __file__, sys.argv, __spec__)\nvalue = 3")
print(sorted(runpy.run_path("second.py", run_name="__main__"))); print(sys.modules["__main__"].__file__)
open("third.py", "w").write("print(__name__, __file__, __spec__ and __spec__.name)")
runpy.run_module("third", run_name="__main__", alter_sys=True)"#,
        "",
    ),
    (
        "runpy self",
        r#"import runpy, sys
if not hasattr(sys, "again"):
    sys.again = 1
    runpy.run_path(__file__); print("again")
else: print("inner", __name__)"#,
        "",
    ),
    (
        "guest reachable",
        r"import sys
try:
    import _sandbox_native
except ImportError as e: print(e)
try:
    import _sandbox_zygote
except ImportError as e: print(e)
",
        "",
    ),
    (
        "sandbox module",
        r#"import os, sys
print("sandbox" in sys.modules, [name for name in sys.modules if name.startswith("sandbox")])
import sandbox
print(sandbox, sandbox.progress(0.4, "fitting"), sandbox.progress(message="é"), sandbox.progress(2), sandbox.progress())
for arguments in (("0.4",), ([],), (0.4, 3)):
    try:
        sandbox.progress(*arguments)
    except TypeError as error:
        print(error)
if os.fork() == 0:
    sandbox.progress(0.5, "child")
    os._exit(0)
print(os.wait()[1])
sandbox.progress(float("nan"), '"\\\\\ud800\n' * 300)
1 / 0"#,
        "",
    ),
    (
        "sandbox module of its own",
        r#"open("sandbox.py", "w").write("value = 1")
import sandbox; print(sandbox.value, sandbox.__file__)"#,
        "",
    ),
    (
        "sandbox module without its pipe",
        r#"import os
os.close(3)
file = open("/tmp/three", "wb")
import sandbox
sandbox.progress(0.5)
print(file.fileno(), os.path.getsize("/tmp/three"))"#,
        "",
    ),
    (
        "pickle main",
        r"import pickle, copy
class C:
    def __init__(self): self.x = 1
def f(): pass
print(pickle.loads(pickle.dumps(C())).x, pickle.loads(pickle.dumps(f)) is f, pickle.dumps(C())[:60], C.__module__, copy.deepcopy(C()).x)",
        "",
    ),
    (
        "dataclass",
        r"from dataclasses import dataclass
import enum, typing
@dataclass
class A:
    x: int
print(A(1))
class E(enum.Enum): a = 1
print(E.a)
class N(typing.NamedTuple):
    a: int
print(N(1)); print(typing.get_type_hints(A))",
        "",
    ),
    (
        "warn",
        r"import warnings
warnings.warn('user')
warnings.warn('dep', DeprecationWarning)
def f(): warnings.warn('pending', PendingDeprecationWarning)
f()
warnings.warn('user')
for i in range(3): warnings.warn('loop')",
        "",
    ),
    (
        "warn deprecated syntax",
        r"import sys
x = '\d'
print(1 is 1)
assert (1, 'x')",
        "",
    ),
    (
        "warn error",
        r"import warnings
warnings.simplefilter('error')
warnings.warn('x')",
        "",
    ),
    (
        "warn module",
        r#"open('m.py','w').write('import warnings\nwarnings.warn("in module", DeprecationWarning)\nwarnings.warn("user in module")')
import m"#,
        "",
    ),
    ("help", "help(len)", ""),
    ("displayhook", "import sys; sys.displayhook(5); print(_)", ""),
    (
        "pdb",
        r"import pdb; pdb.set_trace()
print(1)",
        r#"{"stdin": "p 1+1\nbt\nc\n"}"#,
    ),
    ("code interact", "import code; code.interact(local={'x': 1})", r#"{"stdin": "x+1\n"}"#),
    (
        "import zip",
        r"import zipfile, sys
zipfile.ZipFile('z.zip','w').writestr('inzip.py', 'v=1')
sys.path.insert(0, 'z.zip')
import inzip; print(inzip.__file__)",
        "",
    ),
];

/// Other processes, and what runs in them.
const PROCESSES: &[Program] = &[
    (
        "mp fork",
        r#"import multiprocessing as mp
def f(x): return x * x
if __name__ == "__main__":
    with mp.get_context("fork").Pool(2) as p: print(p.map(f, range(5)))
    print(mp.get_start_method(), mp.current_process(), mp.parent_process())"#,
        "",
    ),
    (
        "mp spawn",
        r#"import multiprocessing as mp, sys
def f(x): return x * x
if __name__ == "__main__":
    with mp.get_context("spawn").Pool(2) as p: print(p.map(f, range(5)))
    print(sys.argv)"#,
        "",
    ),
    (
        "mp forkserver",
        r#"import multiprocessing as mp
def f(x): return x * x
if __name__ == "__main__":
    with mp.get_context("forkserver").Pool(1) as p: print(p.map(f, range(5)))"#,
        r#"{"resources": {"processLimit": 64}}"#,
    ),
    (
        "mp exc",
        r#"import multiprocessing as mp, re
def f(): raise ValueError("in child")
if __name__ == "__main__":
    p = mp.get_context("fork").Process(target=f); p.start(); p.join(); print(p.exitcode)"#,
        "",
    ),
    (
        "mp shared",
        r#"import multiprocessing as mp
from multiprocessing import shared_memory
s = shared_memory.SharedMemory(create=True, size=10, name="mine"); s.buf[0] = 5; print(s.name, s.size); s.close(); s.unlink()
v = mp.Value("i", 3); a = mp.Array("d", 2); print(v.value, a[:])
with mp.Manager() as m: d = m.dict(); d["a"] = 1; print(d)"#,
        "",
    ),
    (
        "mp daemon",
        r#"import multiprocessing as mp, time
def f(): time.sleep(20); print("child ends", flush=True)
if __name__ == "__main__":
    p = mp.Process(target=f, daemon=True); p.start(); print("main ends")"#,
        "",
    ),
    (
        "subprocess",
        r#"import subprocess, sys
r = subprocess.run([sys.executable, "-c", "import sys; print(sys.argv, sys.flags.isolated, sys.path); sys.exit(3)", "x"], capture_output=True, text=True); print(r)
r = subprocess.run([sys.executable, __file__ + "x"], capture_output=True, text=True); print(r)
print(subprocess.run([sys.executable], input="print(1+1)", capture_output=True, text=True))"#,
        "",
    ),
    (
        "subprocess exc",
        r#"import subprocess, sys
print(subprocess.run([sys.executable, "-c", "1/0"], capture_output=True, text=True))
subprocess.run([sys.executable, "-c", "1/0"], check=True)"#,
        "",
    ),
    (
        "subprocess fds",
        r#"import subprocess, sys
print(subprocess.run([sys.executable, "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))"], capture_output=True, text=True))
print(subprocess.run([sys.executable, "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))"], capture_output=True, text=True, close_fds=False))"#,
        "",
    ),
    (
        "execv",
        r#"import os, sys; print('before', flush=True); os.execv(sys.executable, [sys.executable, '-c', 'import sys, os; print(sys.argv, os.listdir("/proc/self/fd")); sys.exit(4)', 'z'])"#,
        "",
    ),
    ("execv exc", "import os, sys; os.execv(sys.executable, [sys.executable, '-c', '1/0'])", ""),
    (
        "orphan",
        r"import os, time
if os.fork() == 0:
    if os.fork() == 0:
        time.sleep(0.05); print(os.getppid()); os._exit(0)
    os._exit(0)
os.wait(); time.sleep(0.15)",
        "",
    ),
    (
        "grandchild left",
        r#"import os, time
if os.fork() == 0:
    time.sleep(30); os._exit(0)
print("end")"#,
        "",
    ),
    (
        "futures thread",
        r"import concurrent.futures as c
with c.ThreadPoolExecutor() as e: print(list(e.map(str, range(3))))
e = c.ThreadPoolExecutor(); f = e.submit(print, 'late'); print('main')",
        "",
    ),
    (
        "futures process",
        r"import concurrent.futures as c
def f(x): return -x
if __name__ == '__main__':
    with c.ProcessPoolExecutor(2) as e: print(list(e.map(f, range(3))))",
        "",
    ),
    (
        "asyncio",
        r#"import asyncio
async def main():
    p = await asyncio.create_subprocess_exec("/opt/python/bin/python", "-c", "print(7)", stdout=asyncio.subprocess.PIPE)
    print(await p.communicate(), await asyncio.gather(asyncio.sleep(0.01, 1), asyncio.to_thread(lambda: 2)))
asyncio.run(main())"#,
        "",
    ),
    (
        "asyncio exc",
        r#"import asyncio
async def main():
    await asyncio.sleep(0.01); raise ValueError("in task")
asyncio.run(main())"#,
        "",
    ),
    (
        "asyncio kbd",
        r"import asyncio, os, signal
async def main():
    os.kill(os.getpid(), signal.SIGINT); await asyncio.sleep(1)
asyncio.run(main())",
        "",
    ),
];

/// Limits and refusals.
const VERDICTS: &[Program] = &[
    (
        "oom grow",
        r"x = []
while True: x.append(bytearray(1 << 20))",
        r#"{"resources": {"memoryLimit": "100Mi"}}"#,
    ),
    (
        "oom child",
        r"import os
if os.fork() == 0:
    x = bytearray(300 << 20)
os.wait()",
        r#"{"resources": {"memoryLimit": "64Mi"}}"#,
    ),
    ("timeout", "import time; time.sleep(60)", r#"{"timeout": 0.3}"#),
    ("timeout spin", "while True: pass", r#"{"timeout": 0.3}"#),
    ("cputime", "while True: pass", r#"{"resources": {"cpuTime": 0.3}}"#),
    (
        "proclimit",
        r"import os, time
n = 0
try:
    while True:
        if os.fork() == 0: time.sleep(5); os._exit(0)
        n += 1
except OSError as e: print(n, e)",
        r#"{"resources": {"processLimit": 8}}"#,
    ),
    (
        "threadlimit",
        r"import threading, time
n = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(1,), daemon=True).start(); n += 1
except RuntimeError as e: print(n, e)",
        r#"{"resources": {"processLimit": 8}}"#,
    ),
    (
        "proclimit uncaught",
        r"import os, time
while True:
    if os.fork() == 0: time.sleep(5); os._exit(0)",
        r#"{"resources": {"processLimit": 8}}"#,
    ),
    (
        "disk full",
        r#"n = 0
try:
    with open("/work/f", "wb") as f:
        while True: f.write(bytes(1 << 20)); f.flush(); n += 1
except OSError as e: print(e, 3 < n < 9)"#,
        r#"{"resources": {"diskLimit": "8Mi"}}"#,
    ),
    (
        "disk full uncaught",
        r#"f = open("/tmp/f", "wb")
while True: f.write(bytes(1 << 20))"#,
        r#"{"resources": {"diskLimit": "8Mi"}}"#,
    ),
    (
        "inodes",
        r#"n = 0
try:
    while True: open(f"/tmp/{n}", "w").close(); n += 1
except OSError as e: print(n, e)"#,
        r#"{"resources": {"diskLimit": "8Mi"}}"#,
    ),
    (
        "fsize",
        r"f = open('f', 'wb')
f.seek(1 << 40)
f.write(b'x'); f.flush()",
        r#"{"resources": {"diskLimit": "8Mi"}}"#,
    ),
    (
        "nofile",
        r"import os
n = 0
try:
    while True: os.dup(0); n += 1
except OSError as e: print(n, e)",
        "",
    ),
    (
        "denied uncaught",
        r"import os
os.chroot('/tmp')",
        "",
    ),
    (
        "denied many",
        r#"import os, socket
for f in (lambda: os.chroot("/"), lambda: os.mknod("/tmp/x", 0o60600, 1), lambda: os.sched_setaffinity(1, [0]), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW), lambda: os.kill(1, 9), lambda: os.setuid(0), lambda: os.setgroups([0])):
    try: print(f())
    except OSError as e: print(e)"#,
        "",
    ),
    (
        "net denied",
        r"import socket
try: socket.create_connection(('1.1.1.1', 80), 1)
except OSError as e: print(e)
print(socket.gethostname(), socket.gethostbyname('localhost'), [i[1] for i in socket.if_nameindex()])",
        "",
    ),
    (
        "readonly",
        r"try: open('/etc/x', 'w')
except OSError as e: print(e)
try: open('/opt/python/x', 'w')
except OSError as e: print(e)",
        "",
    ),
    (
        "stack overflow",
        r"import sys; sys.setrecursionlimit(10**9)
class A:
    def __getattr__(self, n): return getattr(self, n + 'x') if len(n) < 10**6 else 1
def f(x): return sorted([x], key=f)
f(1)",
        "",
    ),
];

/// The default environment.
const PACKAGES: &[Program] = &[
    (
        "numpy basic",
        "import numpy as np; print(np.arange(3), np.get_printoptions(), np.geterr(), np.random.get_state()[0])",
        "",
    ),
    (
        "numpy warn",
        r"import numpy as np
np.array([1.0])/0
print(np.log(np.array([-1.0])))",
        "",
    ),
    (
        "numpy threads2",
        "import numpy as np, os; a = np.ones((500, 500)); a @ a; print(len(os.listdir('/proc/self/task')))",
        r#"{"resources": {"cpuLimit": "2"}}"#,
    ),
    (
        "numpy exc",
        r"import numpy as np
np.zeros(3)[5]",
        "",
    ),
    (
        "pandas basic",
        r"import pandas as pd; print(pd.DataFrame({'a': [1, 2]}), pd.get_option('display.width'), pd.options.display.max_rows)
pd.DataFrame({'a': [1]})['nope']",
        "",
    ),
    (
        "mpl",
        "import matplotlib, os; import matplotlib.pyplot as plt; print(matplotlib.get_backend(), plt.get_fignums(), os.listdir('/tmp'), os.listdir('/tmp/.matplotlib') if os.path.exists('/tmp/.matplotlib') else None); plt.plot([1,2]); plt.savefig('/work/x.png'); print(os.path.getsize('/work/x.png'), sorted(os.listdir('/work')))",
        "",
    ),
    ("mpl rc", "import matplotlib; print(sorted(matplotlib.rcParams.items()))", ""),
    (
        "mpl cjk",
        r"import matplotlib.pyplot as plt
plt.title('中文 ü'); plt.savefig('x.png'); plt.show()",
        "",
    ),
    ("scipy", "import scipy.stats as s; print(round(s.norm.cdf(0.3), 5))", ""),
    (
        "sklearn",
        r"import joblib, numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.svm import LinearSVC
x, y = [[0.0], [1.0]], [0, 1]
print(LinearRegression().fit(x, y).coef_, RandomForestClassifier(n_jobs=2, random_state=0).fit(x, y).predict(x))
print(joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-i) for i in range(3)))
# Printed by C code.
LinearSVC(verbose=1, dual=True, random_state=0).fit(x, y)",
        r#"{"resources": {"cpuLimit": "2"}}"#,
    ),
    (
        "requests",
        r"import requests, bs4
try: requests.get('http://1.1.1.1', timeout=1)
except Exception as e: print(type(e))",
        "",
    ),
];
