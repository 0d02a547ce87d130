//! The import policy while a program runs. It is a courtesy: each refusal has its control, the same program without it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    place::{Outcome, Place, finish},
    require,
};

/// Each is a way to import `ctypes` that no reader of the program sees. `N` is its name.
const ROUTES: &[(&str, &str)] = &[
    ("__import__", "__import__(N)"),
    ("__import__ with everything", "__import__(N, globals(), locals(), [], 0)"),
    ("__import__ by keywords", "__import__(name=N, globals={}, locals={}, fromlist=('CDLL',), level=0)"),
    ("__import__ in a package's name", "import numpy; __import__(N, vars(numpy))"),
    ("import_module", "import importlib; importlib.import_module(N)"),
    ("import_module of a part", "import importlib; importlib.import_module('.util', N)"),
    ("importlib.__import__", "import importlib; importlib.__import__(N)"),
    ("exec", "exec(f'import {N}')"),
    ("exec of from", "exec(f'from {N} import CDLL')"),
    ("exec in a package", "exec('from . import CDLL', {'__package__': N})"),
    ("eval of a code object", "eval(compile(f'import {N}.util', '<made up>', 'exec'))"),
    ("after a package has", "import numpy, sys; assert N in sys.modules; __import__(N)"),
    ("map", "list(map(__import__, [N]))"),
    ("pickle", "import pickle; pickle.loads(f'c{N}\\nCDLL\\n.'.encode())"),
    ("pickle in Python", "import pickle; pickle._loads(f'c{N}\\nCDLL\\n.'.encode())"),
    ("pkgutil", "import pkgutil; pkgutil.resolve_name(N)"),
    ("timeit", "import timeit; timeit.timeit(f'import {N}', number=1)"),
    ("a thread", "in_thread(lambda: __import__(N))"),
    ("a thread that is the import", "in_thread(__import__, N)"),
    ("a thread of a string", "in_thread(exec, f'import {N}')"),
    ("a pool", "from concurrent.futures import ThreadPoolExecutor as P; P(1).submit(__import__, N).result()"),
    ("a module that it wrote", "open('own.py', 'w').write(f'import {N}'); import own"),
    ("a function of a module that it wrote", "open('own.py', 'w').write('f = __import__'); import own; own.f(N)"),
    ("a module elsewhere", "at('/tmp/far'); open('/tmp/far/own.py', 'w').write(f'import {N}'); import own"),
    ("a package that it wrote", "at('.'); open('far/part.py', 'w').write(f'import {N}'); import far.part"),
    ("a process by fork", "in_process('fork')"),
    ("a process by spawn", "in_process('spawn')"),
    ("a new interpreter", "in_interpreter('-c')"),
    ("an isolated interpreter", "in_interpreter('-I', '-c')"),
];

/// Runs the route in `argv[1]` and says what came of it.
const TRY: &str = r#"
import os, subprocess, sys, threading
N = "cty" + "pes"

def at(folder):
    os.makedirs(os.path.join(folder, "far") if folder == "." else folder, exist_ok=True)
    sys.path.insert(0, folder)

def in_thread(target, *arguments):
    found = []
    threading.excepthook = lambda caught: found.append(caught.exc_value)
    thread = threading.Thread(target=target, args=arguments)
    thread.start()
    thread.join()
    if found:
        raise found[0]

def child(pipe):
    try:
        __import__(N)
        pipe.send(None)
    except ImportError as error:
        pipe.send((str(error), error.name))

def in_process(how):
    import multiprocessing
    context = multiprocessing.get_context(how)
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(theirs,))
    process.start()
    answer = ours.recv()
    process.join()
    if answer:
        raise ImportError(answer[0], name=answer[1])

def in_interpreter(*flags):
    code = f"try: __import__('{N}')\nexcept ImportError as error: print(error, error.name, sep='|')"
    done = subprocess.run([sys.executable, *flags, code], capture_output=True, text=True, check=True)
    if done.stdout:
        raise ImportError(done.stdout.split("|")[0], name=done.stdout.split("|")[1].strip())

if __name__ == "__main__":
    for number, route in enumerate(sys.argv[1:]):
        for name in ("own", "far", "far.part"):
            sys.modules.pop(name, None)
        os.makedirs(str(number))
        os.chdir(str(number))
        sys.path.insert(0, os.getcwd())
        sys.path_importer_cache.clear()
        try:
            exec(route, globals())
            print("imported")
        except ImportError as error:
            print(error.name, error)
        os.chdir("..")
        sys.path.pop(0)
"#;

fn run(place: &Place, mode: &str, code: &str, arguments: &[&str]) -> Outcome {
    let program = place.program(code);
    place.run(&[&["--import-policy", mode, &program], arguments].concat())
}

fn json(place: &Place, mode: &str, code: &str) -> Value {
    let program = place.program(code);
    place.run_json(&["--import-policy", mode, &program])
}

#[test]
fn every_way_to_a_blocked_module_is_refused_and_works_without_the_policy() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let routes: Vec<&str> = ROUTES.iter().map(|(_, route)| *route).collect();
    for (mode, refused) in [("enforce", true), ("off", false)] {
        let outcome = run(&place, mode, TRY, &routes);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let lines: Vec<&str> = outcome.stdout.lines().collect();
        assert_eq!(lines.len(), ROUTES.len(), "{outcome:?}");
        for ((name, _), line) in ROUTES.iter().zip(lines) {
            let is_refused = ["ctypes", "ctypes.util"].iter().any(|module| {
                line == format!("{module} the import policy of this sandbox blocks the module '{module}'")
            });
            assert_eq!((is_refused, line == "imported"), (refused, !refused), "{mode}: {name}: {line}");
        }
    }
    place.assert_next_works();
}

#[test]
fn a_refusal_reads_like_an_exception_of_the_program() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let result = json(&place, "enforce", "name = 'cty' + 'pes'\n\n__import__(name)\n");
    let error = &result["error"];
    assert_eq!((&result["status"], &result["exitCode"]), (&"Failed".into(), &1.into()), "{result}");
    assert_eq!((&error["name"], &error["line"]), (&"ImportError".into(), &3.into()), "{result}");
    assert_eq!(error["value"], "the import policy of this sandbox blocks the module 'ctypes'");
    // No frame of the sandbox's own.
    for text in [&result["stderr"], &error["traceback"]] {
        let text = text.as_str().unwrap();
        assert!(text.contains("main.py\", line 3, in <module>") && text.matches("File ").count() == 1, "{text}");
    }
    place.assert_next_works();
}

#[test]
fn a_package_that_is_not_allowed_is_refused_though_an_allowed_one_imports_it() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    // joblib brings it; this list of allowed modules does not have it.
    let with_list = |code: &str| {
        let mut command = place.command(&["run", "--json", "-c", code]);
        command.env("PythonSandbox__AllowedModules__0", "bs4").env("PythonSandbox__AllowedModules__1", "sklearn");
        finish(command, b"").json()
    };
    for before in ["", "import sys, sklearn.linear_model; assert 'cloudpickle' in sys.modules"] {
        let code = format!("{before}\nimport importlib\nimportlib.import_module('clou' + 'dpickle')");
        let result = with_list(&code);
        let value = result["error"]["value"].as_str().unwrap_or_default();
        assert!(
            value.starts_with("the import policy of this sandbox does not allow the module 'cloudpickle'"),
            "{result}"
        );
        assert!(value.contains("allowed beside the standard library: bs4, sklearn"), "{result}");
        assert_eq!(json(&place, "off", &code)["status"], "Completed");
    }
    place.assert_next_works();
}

#[test]
fn packages_import_what_they_need() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = "
import sys
import numpy, pandas, sklearn.linear_model, scipy.optimize, scipy, matplotlib.pyplot, requests, bs4, tqdm, PIL.Image
import numpy as np, joblib, pickle, copy
assert 'ctypes' in sys.modules
print(np.arange(3).ctypes.data != 0, np.float64(1).sum(), scipy.special.gamma(4))
print(pickle.loads(pickle.dumps(pandas.DataFrame({'a': [1]}))).a.sum())
print(joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(i) for i in (-1, -2)))
";
    let outcome = run(&place, "enforce", code, &[]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "True 1.0 6.0\n1\n[1, 2]\n"), "{outcome:?}");
}

#[test]
fn what_the_program_wrote_is_its_own() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let code = r#"
import importlib, importlib.util, os, sys, traceback, types, warnings
def write(path, text):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    open(path, "w").write(text)
    importlib.invalidate_caches()
write("helper.py", "value = 1")
write("pack/__init__.py", "from . import inner\nfrom .inner import value\nimport pack.inner as again")
write("pack/inner.py", "value = 2")
write("/tmp/elsewhere/far.py", "value = 3")
# Installed, and not allowed: the program's own comes first.
write("cloudpickle.py", "value = 4")
sys.path.append("/tmp/elsewhere")
import helper, far, pack.inner as inner, cloudpickle
from pack import again
print(helper.value, far.value, inner.value, again.value, cloudpickle.value)
print(importlib.reload(helper).value, importlib.import_module(".inner", "pack").value)
sys.modules["made"] = types.ModuleType("made")
import made
spec = importlib.util.spec_from_file_location("by_hand", "/tmp/elsewhere/far.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

class Finder:
    asked = 0
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "virtual":
            cls.asked += 1
            return importlib.util.spec_from_loader(name, cls)
    create_module = staticmethod(lambda spec: None)
    exec_module = staticmethod(lambda module: setattr(module, "value", 5))
sys.meta_path.insert(0, Finder)
import virtual
print(module.value, virtual.value, Finder.asked)

for name in ("no_such_module", "no_such.module"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(error)
write("broken.py", "1 / 0")
try:
    import broken
except ZeroDivisionError as error:
    print([os.path.basename(frame.filename) for frame in traceback.extract_tb(error.__traceback__)])
try:
    import no_such
except ModuleNotFoundError as error:
    print([frame.lineno > 0 for frame in traceback.extract_tb(error.__traceback__)])

# Who warns at import time warns the importer.
write("old.py", "import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import old
print(os.path.basename(caught[0].filename))

# A function that stands in for `__import__` imports in the name of whoever does.
import builtins
original, seen = builtins.__import__, []
def watching(name, *rest, **named):
    seen.append(name)
    return original(name, *rest, **named)
builtins.__import__ = watching
import numpy
builtins.__import__ = original
print("ctypes" in seen, "numpy" in seen)
"#;
    let expected = "1 3 2 2 4\n1 2\n3 5 1\nNo module named 'no_such_module'\nNo module named 'no_such'\n\
                    ['main.py', 'broken.py']\n[True]\nmain.py\nTrue True\n";
    // Past a reader of the program, who cannot know what it will have written.
    let program = place.program("import sys; exec(compile(sys.stdin.read(), __file__, 'exec'))");
    for mode in ["enforce", "off"] {
        let outcome = place.run_with(&["--import-policy", mode, &program], code.as_bytes());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, expected), "{mode}: {outcome:?}");
    }
}

#[test]
fn everything_installed_in_a_named_environment_is_allowed() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let cache = place.path().join("own-cache");
    let requirements = place.path().join("requirements.txt");
    std::fs::write(&requirements, "# nothing\n").unwrap();
    let with = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("AEVATAR_SANDBOX_CACHE", &cache);
        finish(command, b"")
    };
    let made = with(&["env", "prepare", "--name", "own", "--requirements", requirements.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{made:?}");
    // As pip would have put it there.
    let packages = packages_of(&cache);
    std::fs::write(packages.join("unheard_of.py"), "import ctypes\nvalue = 6\n").unwrap();
    let used = with(&["run", "--environment", "own", "-c", "import unheard_of; print(unheard_of.value)"]);
    assert_eq!((used.code, used.stdout.as_str()), (0, "6\n"), "{used:?}");
    let blocked = with(&["run", "--environment", "own", "-c", "import unheard_of; __import__('cty' + 'pes')"]);
    assert!(blocked.stderr.contains("blocks the module 'ctypes'"), "{blocked:?}");
    let off = ["run", "--import-policy", "off", "--environment", "own", "-c", "__import__('cty' + 'pes')"];
    assert_eq!(with(&off).code, 0);
}

/// Where the packages of the environment `own` are.
fn packages_of(cache: &Path) -> PathBuf {
    let mut folder = cache.join("environments/own");
    while !folder.join("packages").is_dir() {
        let mut entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        folder = entries.find(|path| path.is_dir()).unwrap();
    }
    folder.join("packages")
}

#[test]
fn a_syntax_error_is_reported_with_line_and_column() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let result = json(&place, "enforce", "value = 1\nif value = 2:\n    pass\n");
    let error = &result["error"];
    assert_eq!((&error["name"], &error["line"], &error["column"]), (&"SyntaxError".into(), &2.into(), &4.into()));
    // Of code that the program compiles, the line is the program's, and a column would be another line's.
    let result = json(&place, "enforce", "\n\ncompile('a b', __file__, 'exec')\n");
    let error = &result["error"];
    assert_eq!((&error["name"], &error["line"]), (&"SyntaxError".into(), &3.into()), "{result}");
    assert_eq!(error.get("column"), None, "{result}");
}
