# Asks CPython whether it accepts a program, without running it. The program comes through stdin, the answer goes to
# stdout: an empty object, or a description as of an uncaught exception.
import json, sys, traceback

LONGEST = 20_000
PROGRAM = "/work/main.py"
source = sys.stdin.buffer.read()
# In its own place: for some errors, CPython reads the line that it shows from the file.
with open(PROGRAM, "wb") as file:
    file.write(source)
answer = {}
try:
    compile(source, PROGRAM, "exec", dont_inherit=True)
except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
    answer = {
        "name": type(error).__name__,
        "value": str(getattr(error, "msg", error))[:LONGEST],
        "traceback": "".join(traceback.format_exception_only(error))[:LONGEST],
        "line": getattr(error, "lineno", None),
        "column": getattr(error, "offset", None),
    }
json.dump(answer, sys.stdout)
