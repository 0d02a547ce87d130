"""Runs a program again and again in this one interpreter, each time in a fresh namespace.

A line on stdin asks for a number of runs; a line on stdout answers with their times in seconds, as a JSON array.
"""

import json
import os
import sys
import time

code = sys.argv[1]
answers = os.fdopen(os.dup(1), "w")
# What the program prints is not read by anybody, but it is written.
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

for line in sys.stdin:
    times = []
    for _ in range(int(line)):
        begin = time.perf_counter()
        exec(compile(code, "<program>", "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
        times.append(time.perf_counter() - begin)
    print(json.dumps(times), file=answers, flush=True)
