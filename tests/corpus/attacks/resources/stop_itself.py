# /// attack
# tries = "outlive its deadline by being stopped"
# requirement = "S3"
# layer = "deadline of the supervisor, SIGKILL"
# limits = ["--timeout=2"]
# [control]
# stdout = "started\nreached: stopped"
# [inside]
# reason = "WallTimeLimit"
# exit = 137
# stdout = "started"
# within = 8
# ///
import json
import os
import signal
import sys

print("started", flush=True)
if json.loads(sys.argv[1])["outside"] and (child := os.fork()):
    _, status = os.waitpid(child, os.WUNTRACED)
    print("reached: stopped" if os.WIFSTOPPED(status) else "ended")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    sys.exit()
os.kill(os.getpid(), signal.SIGSTOP)
