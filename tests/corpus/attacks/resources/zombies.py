# /// attack
# tries = "fill the process table with the dead: children that nobody waits for, and orphans"
# requirement = "S2"
# layer = "pids cgroup, an init that reaps"
# limits = ["--processes=32"]
# [control]
# stdout = "orphans reached\nzombies reached"
# [inside]
# stdout = "orphans reached\nzombies blocked EAGAIN"
# ///
import errno
import os
import time

# Orphans are the init's to reap: any number of them, one after another, is fine in both places.
for _ in range(48):
    if not (child := os.fork()):
        if not os.fork():
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.01)
print("orphans reached")
try:
    for _ in range(48):
        if not os.fork():
            os._exit(0)
    print("zombies reached")
except OSError as error:
    print("zombies blocked", errno.errorcode[error.errno])
