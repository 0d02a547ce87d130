# /// attack
# tries = "start more children than its limit, and go on when that fails"
# requirement = "S2"
# layer = "pids cgroup"
# limits = ["--processes=32"]
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked EAGAIN"
# ///
import errno
import os
import signal
import time

children = []
try:
    for _ in range(48):
        if not (child := os.fork()):
            time.sleep(20)
            os._exit(0)
        children.append(child)
    print("reached")
except OSError as error:
    print("blocked", errno.errorcode[error.errno])
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
