"""Describes an uncaught exception for the supervisor, which reads it as a stranger's words."""

import json
import os
import traceback

PROGRAM = "/work/main.py"
# Characters of a text. Each takes at most 12 bytes in the report, of which the supervisor reads 512 KiB.
MAX_TEXT = 20_000


def tell(pipe, kind, value, trace):
    """Writes the description as one line. What a program wrote there before may not have ended its line."""
    rest = b'\n{"error": ' + describe(kind, value, trace) + b"}\n"
    while rest:
        rest = rest[os.write(pipe, rest) :]


def describe(kind, value, trace):
    line = column = None
    if isinstance(value, SyntaxError) and value.filename == PROGRAM:
        line = _number(value.lineno)
        column = _number(value.offset)
    for frame, number in traceback.walk_tb(trace):
        if frame.f_code.co_filename == PROGRAM:
            # Of code that the program compiled, where it did so.
            line, column = number, None
    try:
        # `str` of a syntax error ends with the place, which is told beside it.
        words = value.msg if isinstance(value, SyntaxError) and isinstance(value.msg, str) else str(value)
    except Exception:
        words = ""
    report = {
        "name": kind.__name__,
        "value": _shorten(words),
        "traceback": _shorten("".join(traceback.format_exception(kind, value, trace))),
        "line": line,
        "column": column,
        "errno": value.errno if isinstance(value, OSError) else None,
    }
    return json.dumps(report, default=str).encode("ascii")


def _number(value):
    """What is no position is none: CPython says 0 or -1 where it knows no column."""
    return value if type(value) is int and 0 < value < 1 << 31 else None


def _shorten(text):
    if len(text) <= MAX_TEXT:
        return text
    return text[: MAX_TEXT // 2] + "\n[…]\n" + text[-MAX_TEXT // 2 :]
