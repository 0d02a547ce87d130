# /// attack
# tries = "hold more memory than its limit in pipes that nobody reads"
# requirement = "S1"
# layer = "memory cgroup"
# limits = ["--memory=32Mi"]
# [control]
# stdout = "started\nreached"
# [inside]
# reason = "OutOfMemory"
# exit = 137
# stdout = "started"
# ///
import contextlib
import fcntl
import os

F_SETPIPE_SZ = 1031
print("started", flush=True)
pipes, held = [], 0
while held < 56 << 20 and len(pipes) < 450:
    pipes.append(os.pipe())
    os.set_blocking(pipes[-1][1], False)
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(pipes[-1][1], F_SETPIPE_SZ, 1 << 20)
    with contextlib.suppress(BlockingIOError):
        while True:
            held += os.write(pipes[-1][1], b"x" * (1 << 16))
print("reached" if held >= 24 << 20 else f"only {held} bytes")
