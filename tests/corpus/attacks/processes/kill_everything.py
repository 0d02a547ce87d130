# /// attack
# tries = "kill every process it can name, and pid 1"
# requirement = "P3"
# layer = "pid namespace"
# [control]
# stdout = "reached: victim dead"
# [inside]
# stdout = "alive"
# ///
import contextlib
import ctypes
import json
import os
import signal
import sys
import time

canary = json.loads(sys.argv[1])
if canary["outside"]:
    # Everything, but in a pid namespace of its own.
    assert ctypes.CDLL(None).unshare(0x20000000) == 0  # CLONE_NEWPID: of the next child
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert os.getpid() == 1
    if not (victim := os.fork()):
        time.sleep(10)
        os._exit(1)
    os.kill(-1, signal.SIGKILL)
    print("reached: victim dead" if os.WIFSIGNALED(os.waitpid(victim, 0)[1]) else "victim lives", flush=True)
    os._exit(0)

# Never without a pid namespace: a broken sandbox is a finding, and must not be the end of the host that finds it.
others = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {1, os.getpid()}
with contextlib.suppress(ProcessLookupError):
    os.kill(canary["victim"], 0)
    sys.exit("no pid namespace: the victim is in reach")
if os.getppid() > 1 or others:
    sys.exit(f"no pid namespace: {others} are in reach")
for target in (-1, 1):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGSTOP, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(target, number)
time.sleep(0.2)
print("alive")
