"""The Python half of a zygote and of its workers; `_sandbox_native` is the other one, and calls what is here.

A zygote imports, and runs no program. A worker is a fork of it that is locked into its box before it gets here.
"""

import _thread
import atexit
import builtins
import gc
import importlib
import importlib.machinery
import importlib.util
import json
import os
import resource
import sys
import threading
from functools import partial
from operator import methodcaller
from types import ModuleType
from weakref import ref

import _sandbox_runtime

# What is here works at the end of a program, too, whatever that has done to the modules and to the builtins.
__builtins__ = vars(builtins).copy()
all_modules = sys.modules
write = os.write
collect, callbacks, is_collected = gc.collect, gc.callbacks, gc.isenabled
run_exit_functions = atexit._run_exitfuncs
# The native half calls them, and what it calls is not traced.
gettrace, settrace, getprofile, setprofile = sys.gettrace, sys.settrace, sys.getprofile, sys.setprofile

PROGRAM = "/work/main.py"
FOLDER = "/work"
# Characters of a reason why a zygote cannot be.
MAX_REASON = 200
# Bytes that are copied at once.
PIECE = 1 << 20
# The highest descriptor that a zygote has for itself.
LAST_FILE = 6

# What programs do first, by the module that they do it with. A zygote has done it before it is forked, so that what is
# made at the first use is there.
REHEARSALS = {
    "": """
import io, traceback
out = io.StringIO()
exec(compile("def f(x):\\n    return [str(i) for i in range(x)]\\nclass C:\\n    y = f(3)\\n", "<rehearsal>", "exec"), {})
print("{} {:.2f} {!r}".format(1, 2.0, {"a": [1, 2]}), sorted({"b": 1, "a": 2}), file=out)
try:
    {}["a"]
except KeyError:
    traceback.format_exc()
""",
    "numpy": """
import numpy as np
a = np.arange(12.0).reshape(3, 4)
str(a @ a.T + a.mean() + np.random.rand(3, 3).sum()), np.linalg.norm(a), np.sort(a), repr(np.array([1, 2]))
""",
    "pandas": """
import io
import pandas as pd
frame = pd.DataFrame({"a": range(10), "b": [x / 2 for x in range(10)], "c": list("ababababab")})
str(frame.describe()), str(frame), frame.groupby("c")["a"].sum(), frame[frame.a > 3].sort_values("b"), frame.to_csv()
pd.read_csv(io.StringIO("x,y\\n1,2\\n"))
""",
    "matplotlib.pyplot": """
import io
import matplotlib.pyplot as plt
figure, axes = plt.subplots()
axes.plot([1, 2], [3, 4], label="a")
axes.set_title("Title")
axes.legend()
figure.savefig(io.BytesIO(), format="png")
plt.close("all")
""",
    "scipy.stats": """
from scipy import linalg, optimize, stats
stats.norm.cdf(0.5), stats.ttest_ind([1, 2, 3, 4], [2, 3, 4, 6])
optimize.minimize(lambda x: (x * x).sum(), [1.0, 2.0])
linalg.solve([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0])
""",
    "sklearn.linear_model": """
from sklearn.linear_model import LinearRegression, LogisticRegression
x = [[0.0], [1.0], [2.0], [3.0]]
LinearRegression().fit(x, [0, 1, 2, 3]).predict(x)
LogisticRegression().fit(x, [0, 0, 1, 1]).predict(x)
""",
    "bs4": """
from bs4 import BeautifulSoup
BeautifulSoup("<p class='a'>text <b>bold</b></p>", "html.parser").find("b").get_text()
""",
}

# What a worker does once more when there is time, so that its own copies of the pages that are changed by it are there,
# too. Not all of the above: the copies take memory.
REHEARSED_AGAIN = {
    "": REHEARSALS[""],
    "numpy": REHEARSALS["numpy"],
    "pandas": """
import pandas as pd
str(pd.DataFrame({"a": range(10), "b": range(10)}).describe())
""",
}

# What the end of an interpreter leaves of `builtins`: not what came after they were made.
LATE_BUILTINS = {"open", "copyright", "credits", "exit", "help", "license", "quit"}
# Names of `sys` that have no value at the end of an interpreter: where users' values hide.
HIDING_PLACES = ("path", "argv", "ps1", "ps2", "last_exc", "last_type", "last_value", "last_traceback", "path_hooks",
                 "path_importer_cache", "meta_path", "__interactivehook__")

# Whether figures that are open at the end are saved.
saves_figures = False
# The last of the modules that a worker was forked with. What comes after it in the list is the program's.
last_inherited = None
# The names and values of `builtins` that are left at the end.
first_builtins = {}
# Functions that set the number of threads of a library of linear algebra, with those libraries.
pools = []


def install():
    """Makes this interpreter a zygote when it comes to open its program; called by `site`."""
    file = __file__.replace("_sandbox_zygote.py", "_sandbox_native.so")
    loader = importlib.machinery.ExtensionFileLoader("_sandbox_native", file)
    native = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("_sandbox_native", loader, origin=file))
    loader.exec_module(native)
    globals()["native"] = native
    # A hook that C code calls: what it runs has no frame of Python above it.
    sys.path_hooks.insert(0, native.serve)


def is_program(path):
    if path != PROGRAM:
        return 0
    sys.path_hooks.remove(native.serve)
    # Programs do not find them.
    del sys.modules["_sandbox_zygote"], os.environ["SANDBOX_ZYGOTE"]
    return 1


def grow(modules):
    """Imports what `modules` names, and makes the heap ready to be forked. Returns why that cannot be."""
    global last_inherited, first_builtins
    try:
        if "_sandbox_imports" in sys.modules:
            # Under the program's own name, so that the policy is complete before the first program's first import.
            exec(compile("import sys", PROGRAM, "exec"), {"__name__": "__main__"})
        for name in modules.decode().split():
            _import(name)
        _rehearse(REHEARSALS)
        _find_pools()
        _let_go_of_files()
    except BaseException as error:
        return f"{type(error).__name__}: {error}".encode()[:MAX_REASON]
    last_inherited = next(reversed(sys.modules))
    first_builtins = {name: value for name, value in vars(builtins).items() if name not in LATE_BUILTINS}
    importlib.invalidate_caches()
    gc.collect()
    gc.freeze()
    return b""


def _import(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The environment has it not, and so no program asks for it.
        if error.name != name.partition(".")[0]:
            raise


def rehearse():
    """What a worker does before it parks, when there is time."""
    _rehearse(REHEARSED_AGAIN)


def _rehearse(texts):
    _rehearse_own()
    for module, text in texts.items():
        if not module or module in sys.modules:
            exec(compile(text, "<rehearsal>", "exec"), {"__name__": "<rehearsal>"})


def _let_go_of_files():
    """A worker closes every file of its zygote, so what holds one would be broken there."""
    if manager := sys.modules.get("matplotlib.font_manager"):
        # Each font that was drawn with is an open file.
        manager._get_font.cache_clear()
    gc.collect()
    open_files = {int(name) for name in os.listdir("/proc/self/fd")}
    # The folder that is being listed is the one above; it is closed by now.
    left = [file for file in open_files if file > LAST_FILE and os.path.exists(f"/proc/self/fd/{file}")]
    if left:
        raise OSError(f"an import left {os.readlink(f'/proc/self/fd/{left[0]}')} open")


def _find_pools():
    """Finds the thread pools that a worker sizes by its CPU limit. In a zygote they have one thread, which is none."""
    pools.clear()
    with open("/proc/self/maps") as maps:
        files = {line.split(None, 5)[5].rstrip("\n") for line in maps if ".so" in line}
    setters = {
        "openblas": ("openblas_set_num_threads", "openblas_set_num_threads64_", "scipy_openblas_set_num_threads",
                     "scipy_openblas_set_num_threads64_"),
        "libgomp": ("omp_set_num_threads",),
        "libomp": ("omp_set_num_threads",),
    }
    for file in sorted(files):
        for library, names in setters.items():
            if library in os.path.basename(file):
                import ctypes

                loaded = ctypes.CDLL(file)
                pools.extend(getattr(loaded, name) for name in names if hasattr(loaded, name))


def prepare(descriptor):
    """Makes this process what a fresh interpreter is before it runs its program. Returns the source."""
    global saves_figures
    order, source = _read_order(descriptor)
    _write(PROGRAM, source)
    _write_inputs(descriptor, order)
    saves_figures = order["figures"]
    for number, value in order["limits"]:
        _limit(number, value)
    _set_variables(order["env"])
    sys.argv[:] = [PROGRAM, *order["args"]]
    sys.orig_argv[1:] = sys.argv
    sys.path.insert(0, FOLDER)
    _seed()
    if (cpus := order["cpus"]) > 1:
        for set_threads in pools:
            set_threads(cpus)
    # As CPython's own main does when it has looked whether the program is a folder.
    sys.path_importer_cache[PROGRAM] = None
    _make_main()
    # What `threading` found out of the zygote.
    threading.main_thread()._set_native_id()
    _sandbox_runtime.prepare_program(forked=True)
    # The C code wants an end.
    return source + b"\0"


def _read_order(descriptor):
    length = int.from_bytes(_read(descriptor, 4, 0), "little")
    order = json.loads(_read(descriptor, length, 4))
    order["offset"] = 4 + length + order["source"]
    return order, _read(descriptor, order["source"], 4 + length)


def _read(descriptor, size, offset):
    content = os.pread(descriptor, size, offset)
    while len(content) < size and (part := os.pread(descriptor, size - len(content), offset + len(content))):
        content += part
    return content


def _write_inputs(descriptor, order):
    """Writes the files that came with the program, piece by piece: all at once would be the program's memory."""
    offset = order["offset"]
    for path, size in order["files"]:
        folder = FOLDER
        for name in path.split("/")[:-1]:
            folder += "/" + name
            try:
                os.mkdir(folder, 0o755)
            except FileExistsError:
                pass
        file = os.open(f"{FOLDER}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        end = offset + size
        while offset < end and (part := os.pread(descriptor, min(end - offset, PIECE), offset)):
            offset += os.write(file, part)
        os.close(file)
    os.close(descriptor)


def _write(path, content):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.close(file)


def _limit(number, value):
    _, inherited_limit = resource.getrlimit(number)
    if inherited_limit != resource.RLIM_INFINITY:
        value = min(value, inherited_limit)
    resource.setrlimit(number, (value, value))


def _set_variables(variables):
    for name, value in variables.items():
        os.environ[name] = value


def _seed():
    """What is random differs from that of every other worker. CPython's own hooks have seen to `random` already."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if ssl := sys.modules.get("ssl"):
        ssl.RAND_add(os.urandom(32), 32.0)
    if uuid := sys.modules.get("uuid"):
        uuid._last_timestamp = None
    if process := sys.modules.get("multiprocessing.process"):
        process.current_process().authkey = os.urandom(32)


def _rehearse_own():
    """What `prepare` and `finish` do, without an effect."""
    order = {"args": [], "env": {"A": "b"}, "limits": [[1, 2]], "cpus": 1, "figures": True, "source": 4, "files": []}
    order = json.dumps(order).encode()
    descriptor = os.memfd_create("rehearsal", os.MFD_CLOEXEC)
    os.write(descriptor, len(order).to_bytes(4, "little") + order + b"pass")
    order, source = _read_order(descriptor)
    _write(f"{FOLDER}/rehearsal", source)
    _write_inputs(descriptor, order)
    os.unlink(f"{FOLDER}/rehearsal")
    _limit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    _seed()
    importlib.machinery.SourceFileLoader("__main__", PROGRAM)
    gc.collect()


def _make_main():
    """A `__main__` of the program's own: garbage is not looked for among what was there at the fork."""
    main = ModuleType("__main__")
    vars(main).update(vars(sys.modules["__main__"]))
    if "__annotations__" in vars(main):
        main.__annotations__ = {}
    main.__file__, main.__cached__ = PROGRAM, None
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", PROGRAM)
    sys.modules["__main__"] = main


def finish(status, exit):
    """Begins the end of the program; `step` does the rest."""
    global step
    step = _end(status, exit).send


def _end(status, exit):
    """What `Py_FinalizeEx` does, as far as a program can notice, without taking apart what was inherited.

    Yields calls, each with the object that is named when the call fails, if that is told at all; takes whether it
    succeeded. The native half makes them, so that no frame of ours is above them: it would be in tracebacks, and be
    what warnings are about. At last yields no call but the exit code, and whether the interpreter is to be ended by
    itself.
    """
    code = 1 if status else 0
    if exit is not None:
        code = _exit_code(exit)
    del exit
    yield partial(methodcaller("_shutdown"), threading), threading
    if saves_figures and "matplotlib.pyplot" in all_modules:
        yield _sandbox_runtime.save_figures, None
    yield run_exit_functions, None
    if _thread._count():
        # Daemon threads are stopped by nothing but an interpreter that ends.
        yield None, code, 1
    sys.is_finalizing = lambda: True
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if stream is not None and not _is_closed(stream):
            # That stderr cannot be written to is not told there.
            culprit = stream if name == "stdout" else None
            if not (yield partial(methodcaller("flush"), stream), culprit):
                code = 120
    # The program's are let go of.
    stream = culprit = None
    if is_collected():
        yield collect, None
    yield from _unload()
    yield None, code, 0


def _exit_code(exit):
    try:
        code = exit.code
    except BaseException:
        code = exit
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    stream = getattr(sys, "stderr", None)
    try:
        text = str(code)
        if stream is not None:
            stream.write(text)
        else:
            write(2, text.encode(errors="backslashreplace"))
    except BaseException:
        pass
    try:
        stream.write("\n")
    except BaseException:
        write(2, b"\n")
    return 1


def _is_closed(stream):
    try:
        return bool(stream.closed)
    except BaseException:
        return False


def _unload():
    """Lets go of what is the program's, in the order in which an interpreter does."""
    for name in HIDING_PLACES:
        yield partial(setattr, sys, name, None), None
    yield partial(setattr, builtins, "_", None), None
    for name in ("stdin", "stdout", "stderr"):
        yield partial(setattr, sys, name, getattr(sys, f"__{name}__", None)), None
    own, references = _forget_modules()
    yield own.clear, None
    yield _restore_builtins().clear, None
    # Told to the end, but not to destructors.
    callbacks.clear()
    yield collect, None
    for reference in reversed(references):
        module = reference()
        if module is not None:
            names = [name for name in vars(module) if isinstance(name, str) and name != "__builtins__"]
            # Those with one underscore come first.
            names.sort(key=lambda name: not name.startswith("_") or name.startswith("__"))
            clear = partial(vars(module).update, dict.fromkeys(names))
            del module
            yield clear, None
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            yield partial(methodcaller("flush"), stream), None
    # Destructors that have not run by now have neither output nor builtins.
    sys.stdout = sys.stderr = None
    yield vars(builtins).clear, None
    yield collect, None


def _forget_modules():
    """Takes the program's modules out of the list of all: the last one first; weak references to them, the first one
    first."""
    names = []
    # The newest come last. To look at all would copy the pages of all their names.
    for name in reversed(all_modules):
        if name == last_inherited:
            break
        names.append(name)
    own = [all_modules[name] for name in (*names, "__main__") if name in all_modules]
    for name in names:
        all_modules[name] = None
    all_modules["__main__"] = None
    # Without these two, warnings and tracebacks are printed as they are when all modules are gone.
    all_modules["warnings"] = all_modules["io"] = None
    return own, [ref(module) for module in reversed(own) if isinstance(module, ModuleType)]


def _restore_builtins():
    """Makes them what they were; the values that were there instead."""
    names = vars(builtins)
    other = [name for name, value in names.items() if first_builtins.get(name, names) is not value]
    values = [names.pop(name) for name in other]
    names.update(first_builtins)
    return values
