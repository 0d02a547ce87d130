# /// attack
# tries = "have the supervisor busy with reports of progress, and lose a later one of an exception among them"
# requirement = "I6"
# layer = "bounded result pipe"
# limits = ["--timeout=25"]
# [control]
# exit = 1
# stdout = "done"
# [inside]
# exit = 1
# reason = "Exception"
# error = "KeyError"
# error_value = "'behind it'"
# stdout = "done"
# within = 20
# ///
import os

lines = (
    b'{"progress": {"fraction": 0.5, "message": "' + b"x" * 4000 + b'"}}\n',
    b'{"progress": {"fraction": 1e999}}\n',
    b'{"progress": {"fraction": -7, "message": "\\u001b]0;title\\u0007"}}\n',
    b'{"progress": {"message": "' + b"y" * 100_000 + b'"}}\n',
    b'{"error": {"name": "' + b"z" * 1_000_000 + b'"}}\n',
    b"\n" * 100_000,
)
written = 0
while written < 40 << 20:
    for line in lines:
        written += os.write(3, line)
    if os.path.getsize("/proc/self/fd/3"):
        os.ftruncate(3, 0)  # outside it is a file: keep it small
print("done", flush=True)
raise KeyError("behind it")
