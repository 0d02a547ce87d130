# /// attack
# tries = "drown the reader of the result pipe"
# requirement = "I6"
# layer = "bounded result pipe"
# limits = ["--timeout=20"]
# [control]
# exit = 5
# stdout = "done"
# [inside]
# exit = 5
# stdout = "done"
# within = 15
# ///
import os
import time

os.set_blocking(3, False)
end = time.monotonic() + 3
written = 0
while written < 256 << 20 and time.monotonic() < end:
    try:
        written += os.write(3, b'{"a":"' + b"x" * (1 << 16))
    except BlockingIOError:
        time.sleep(0.01)
    except BrokenPipeError:
        break
    if written > 8 << 20 and os.path.getsize("/proc/self/fd/3"):
        os.ftruncate(3, 0)  # outside it is a file: keep it small
print("done", flush=True)
os._exit(5)
