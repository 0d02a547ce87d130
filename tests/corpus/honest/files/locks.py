# /// honest
# shows = "file locks by fcntl and flock keep another process out"
# stdout = "kept out, then let in"
# ///
import fcntl
import os

with open("lock", "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    if not (child := os.fork()):
        with open("lock", "w") as again:
            try:
                fcntl.lockf(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os._exit(1)
            except BlockingIOError:
                os._exit(0)
    out = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    fcntl.lockf(file, fcntl.LOCK_UN)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("kept out, then let in" if out else "not kept out")
