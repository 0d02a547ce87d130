"""Puts the import policy in force; imported by `site` where there is one. `_sandbox_policy.py` is the rest of it.

It is loaded at every start, so it has only what every import needs.
"""

import builtins
import sys


def install(c_import=builtins.__import__, frame_of=sys._getframe, with_traceback=BaseException.with_traceback):
    # Names that need no look at who imports them. Before the program's first import, only what `site` imports once
    # more: it reads the .pth files of a virtual environment twice.
    harmless = {"_sandbox_runtime", "_sandbox_imports"}
    trusted = ("/opt/python/", sys._stdlib_dir + "/", "<frozen ")
    refusal = None

    def load():
        nonlocal refusal
        # Not by an import: a program's file of that name must not take its place.
        file = __file__.replace("_imports", "_policy")
        names = {"__name__": "_sandbox_policy", "__builtins__": {**vars(builtins), "__import__": c_import}}
        with open(file, "rb") as source:
            exec(compile(source.read(), file, "exec"), names)
        refusal = names["install"](__import__, harmless, trusted, __file__)
        return refusal

    def __import__(name, globals=None, locals=None, fromlist=(), level=0):
        try:
            if level or name not in harmless:
                frame = frame_of().f_back
                # An import statement of a package or of the standard library is its own affair.
                if not frame or globals is not frame.f_globals or not frame.f_code.co_filename.startswith(trusted):
                    if error := (refusal or load())(frame, name, globals, locals, fromlist, level):
                        raise error
            return c_import(name, globals, locals, fromlist, level)
        except BaseException as error:
            # Tracebacks look as they do without this function.
            with_traceback(error, error.__traceback__.tb_next)
            raise

    # importlib's own name: `warnings` looks for whom to warn, and passes over the frames of files that are named so.
    __import__.__code__ = __import__.__code__.replace(co_filename="<frozen importlib._bootstrap>")
    builtins.__import__ = __import__


install()
