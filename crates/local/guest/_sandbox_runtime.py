"""Prepares the interpreter of a sandbox; imported by `site`, before the program.

Nothing here is a boundary. It makes packages importable, lets output be seen while the program runs, and describes an
uncaught exception on the report pipe, which the supervisor reads as a stranger's words.
"""

import os
import site
import sys

_REPORT = 3
_PROGRAM = "/work/main.py"
_MAX_TEXT = 60_000


def _report(kind, value, trace):
    import json
    import traceback

    def shorten(text):
        return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT // 2] + "\n[…]\n" + text[-_MAX_TEXT // 2 :]

    line = None
    if isinstance(value, SyntaxError) and value.filename == _PROGRAM:
        line = value.lineno
    for frame, number in traceback.walk_tb(trace):
        if frame.f_code.co_filename == _PROGRAM:
            line = number
    text = "".join(traceback.format_exception(kind, value, trace))
    try:
        words = str(value)
    except Exception:
        words = ""
    report = {
        "name": kind.__name__,
        "value": shorten(words),
        "traceback": shorten(text),
        "line": line,
        "errno": value.errno if isinstance(value, OSError) else None,
    }
    os.write(_REPORT, json.dumps(report, ensure_ascii=True, default=str).encode("ascii", "replace"))


def _install():
    # Complete lines are visible at once, also through a pipe and also when the program is killed in the middle.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(line_buffering=True)
    site.addsitedir("/opt/python/packages")
    # What CPython does by itself from 3.13 on: pools are as large as the CPU share, not as the host.
    cpus = os.environ.get("PYTHON_CPU_COUNT", "")
    if sys.version_info < (3, 13) and cpus.isdecimal():
        os.cpu_count = lambda: int(cpus)
    # Only the main process of the sandbox has the report pipe. It is the first child of pid 1.
    main = os.getpid()
    if os.getppid() != 1 or main != 2:
        return
    try:
        os.set_inheritable(_REPORT, False)
    except OSError:
        return
    print_exception = sys.excepthook

    def excepthook(kind, value, trace):
        try:
            if os.getpid() == main:
                _report(kind, value, trace)
        except BaseException:
            # A program that broke the modules above still gets its exception printed.
            pass
        print_exception(kind, value, trace)

    sys.excepthook = excepthook


_install()
