"""Puts the import policy in force; imported by `site` where there is one, after `_sandbox_runtime`.

Nothing here is a boundary: a program that wants to gets around it, and then meets the kernel. It is compiled at every
start, so it has only what every import needs; what else there is to decide is in `_sandbox_policy.py`.
"""

import _frozen_importlib
import builtins
import os
import sys

FOLDER = __file__.rpartition("/")[0]


def install():
    entries = {"allow": set(), "block": set()}
    with open(FOLDER + "/_sandbox_imports.txt", encoding="utf-8") as lines:
        for line in lines:
            kind, module = line.split()
            entries[kind].add(module)
    # Names that need no look at who imports them: everybody may, and may import everything below.
    harmless = {*sys.stdlib_module_names, *entries["allow"]}
    for module in entries["block"]:
        harmless.discard(module.partition(".")[0])
    harmless = {module for module in harmless if "." not in module}
    library = (sys._stdlib_dir + "/", "<frozen ")
    frame_of = sys._getframe
    without_own_frame = BaseException.with_traceback
    c_import, gcd_import = builtins.__import__, _frozen_importlib._gcd_import
    policy = None

    def refusal(*question):
        nonlocal policy
        if policy is None:
            # Not by an import: a program's file of that name must not take its place.
            file = FOLDER + "/_sandbox_policy.py"
            names = {"__name__": "_sandbox_policy", "__builtins__": {**vars(builtins), "__import__": c_import}}
            with open(file, "rb") as source:
                exec(compile(source.read(), file, "exec"), names)
            policy = names["Policy"](entries["allow"], entries["block"], library, harmless)
        return policy.refusal(*question)

    def __import__(name, globals=None, locals=None, fromlist=(), level=0):
        try:
            if level or name not in harmless:
                frame = frame_of().f_back
                file = frame.f_code.co_filename if frame else ""
                # What the standard library imports by a statement is its own; by a call, it may be for somebody.
                if not file.startswith("/opt/python/") and not (file.startswith(library) and globals is frame.f_globals):
                    error = refusal(frame, name, globals, locals, fromlist, level)
                    if error:
                        raise error
            return c_import(name, globals, locals, fromlist, level)
        except BaseException as error:
            # Tracebacks look as they do without this function.
            without_own_frame(error, error.__traceback__.tb_next)
            raise

    def _gcd_import(name, package=None, level=0):
        try:
            error = refusal(frame_of().f_back, name, {"__package__": package}, None, None, level)
            if error:
                raise error
            return gcd_import(name, package, level)
        except BaseException as error:
            without_own_frame(error, error.__traceback__.tb_next)
            raise

    for function in (__import__, _gcd_import):
        # `warnings` looks for whom to warn, and passes over the frames of files that are named so.
        function.__code__ = function.__code__.replace(co_filename="<frozen importlib._bootstrap>")
    __import__.__module__, __import__.__qualname__ = "builtins", "__import__"
    builtins.__import__ = _frozen_importlib.__import__ = __import__
    _frozen_importlib._gcd_import = _gcd_import
    if "importlib" in sys.modules:
        sys.modules["importlib"].__import__ = __import__


try:
    install()
except BaseException as error:
    # `site` would print this, and go on without a policy.
    os.write(2, f"the sandbox's import policy cannot be put in force: {error!r}\n".encode())
    os._exit(125)
