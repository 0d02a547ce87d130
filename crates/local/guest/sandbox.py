"""What a program can tell whoever runs it."""

import os
import sys

__all__ = ["progress"]

# Characters of a message. With all else it stays far below what a pipe takes in one piece, so that the lines of several
# threads and processes do not mix.
_MAX_MESSAGE = 200


def progress(fraction=None, message=None):
    """Tells how far the program is: from 0 to 1, and in words.

    Either may be left out. It costs some microseconds, never waits for anybody to look, and does nothing where nobody
    can: in a process that was started anew, or outside of a sandbox.
    """
    if fraction is not None:
        fraction = _fraction(fraction)
    if message is not None and not isinstance(message, str):
        raise TypeError(f"message must be a str or None, not {type(message).__name__}")
    words = "null" if message is None else _quoted(message)
    place = "null" if fraction is None else f"{fraction:.6f}"
    line = f'{{"progress": {{"fraction": {place}, "message": {words}}}}}\n'
    try:
        # Whatever the program has made of descriptor 3 is not written to.
        pipe = os.fstat(3)
        if (pipe.st_dev, pipe.st_ino) == getattr(sys.modules.get("_sandbox_runtime"), "report_pipe", None):
            os.write(3, line.encode())
    except OSError:
        pass


def _fraction(value):
    if isinstance(value, (str, bytes, bytearray)):
        raise TypeError(f"fraction must be a number from 0 to 1 or None, not {type(value).__name__}")
    try:
        value = float(value)
    except OverflowError:
        value = 1.0 if value > 0 else 0.0
    # A program whose total is 0 need not fail for that.
    return min(max(value, 0.0), 1.0) if value == value else None


def _quoted(text):
    """As JSON; letters that cannot be printed are spaces."""
    text = "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_MESSAGE])
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
