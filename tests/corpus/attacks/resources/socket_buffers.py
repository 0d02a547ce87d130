# /// attack
# tries = "hold more memory than its limit in socket buffers that nobody reads"
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
import socket

print("started", flush=True)
pairs, held = [], 0
while held < 56 << 20 and len(pairs) < 450:
    pairs.append(socket.socketpair())
    pairs[-1][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    pairs[-1][0].setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            held += pairs[-1][0].send(b"x" * (1 << 14))
print("reached" if held >= 40 << 20 else f"only {held} bytes")
