"""Describes an uncaught exception for the supervisor, which reads it as a stranger's words."""

import json
import traceback

PROGRAM = "/work/main.py"
# Characters of a text. Each takes at most 12 bytes in the report, of which the supervisor reads 512 KiB.
MAX_TEXT = 20_000


def describe(kind, value, trace):
    line = None
    if isinstance(value, SyntaxError) and value.filename == PROGRAM:
        line = value.lineno
    for frame, number in traceback.walk_tb(trace):
        if frame.f_code.co_filename == PROGRAM:
            line = number
    try:
        words = str(value)
    except Exception:
        words = ""
    report = {
        "name": kind.__name__,
        "value": _shorten(words),
        "traceback": _shorten("".join(traceback.format_exception(kind, value, trace))),
        "line": line,
        "errno": value.errno if isinstance(value, OSError) else None,
    }
    return json.dumps(report, default=str).encode("ascii")


def _shorten(text):
    if len(text) <= MAX_TEXT:
        return text
    return text[: MAX_TEXT // 2] + "\n[…]\n" + text[-MAX_TEXT // 2 :]
