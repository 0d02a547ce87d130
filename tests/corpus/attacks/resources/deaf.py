# /// attack
# tries = "outlive its deadline by ignoring every signal that can be ignored, in a session of its own"
# requirement = "S3"
# layer = "deadline of the supervisor, SIGKILL"
# limits = ["--timeout=2"]
# [control]
# stdout = "started\nreached"
# [inside]
# reason = "WallTimeLimit"
# exit = 137
# stdout = "started"
# within = 8
# ///
import os
import signal
import time

for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, signal.SIG_IGN)
print("started", flush=True)
if not (child := os.fork()):
    os.setsid()
    time.sleep(4)
    os._exit(0)
os.waitpid(child, 0)
print("reached")
