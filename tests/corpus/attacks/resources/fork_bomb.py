# /// attack
# tries = "fork and let the children fork, and die of the refusal: the verdict must name the limit"
# requirement = "S2"
# layer = "pids cgroup"
# limits = ["--processes=16"]
# [control]
# stdout = "reached: 64 processes"
# [inside]
# reason = "ProcessLimit"
# exit = 1
# stdout = ""
# error = "BlockingIOError"
# errno = 11
# within = 20
# ///
import contextlib
import os
import time

main = os.getpid()
read, write = os.pipe()
try:
    for _ in range(6):  # 64 processes, should nothing stop it: enough to see it, too few to hurt
        os.fork()
        time.sleep(0.05)
except BlockingIOError:
    if os.getpid() == main:
        raise
    time.sleep(2)  # keep the place
    os._exit(0)
os.write(write, b".")
os.close(write)
if os.getpid() != main:
    time.sleep(2)
with contextlib.suppress(ChildProcessError):
    while True:
        os.wait()
if os.getpid() == main:
    print("reached:", len(os.read(read, 100)), "processes")
