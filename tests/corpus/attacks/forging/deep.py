# /// attack
# tries = "overflow the stack of whoever parses the result pipe, by nesting"
# requirement = "I6"
# layer = "bounded depth"
# [control]
# exit = 5
# stdout = "done"
# [inside]
# exit = 5
# stdout = "done"
# ///
import os

os.write(3, b"[" * 60_000)
os.set_blocking(3, False)
for piece in (b"\n", b'{"error":' * 6000, b"\n"):
    try:
        os.write(3, piece)
    except OSError:
        break  # full, or no longer read
print("done", flush=True)
os._exit(5)
