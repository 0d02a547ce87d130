# /// attack
# tries = "make pid 1 of the sandbox slow, so that its own death takes long and its time limit does not hold"
# requirement = "S3"
# layer = "seccomp"
# [control]
# stdout = "affinity reached\npriority reached\nof all processes of a user reached"
# [inside]
# stdout = "affinity EPERM\npriority EPERM\nof all processes of a user EPERM"
# ///
import ctypes
import errno
import json
import os
import platform
import subprocess
import sys

NUMBERS = {"x86_64": (203, 141), "aarch64": (122, 140)}
AFFINITY, PRIORITY = NUMBERS[platform.machine()]
UPPER = 1 << 32  # the kernel looks at the lower half of these arguments only
libc = ctypes.CDLL(None, use_errno=True)
mask = ctypes.c_ulong(1)


def call(*arguments):
    if libc.syscall(*map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def attempt(name, *calls):
    outcomes = set()
    for arguments in calls:
        try:
            call(*arguments)
            outcomes.add("reached")
        except OSError as error:
            outcomes.add(errno.errorcode[error.errno])
    print(name, *sorted(outcomes))


other = None
pid, user = 1, 0
if json.loads(sys.argv[1])["outside"]:
    # Neither the host's pid 1 nor its users: a process of another session, and a user who has no process but that.
    pid = (other := subprocess.Popen(["sleep", "30"], user=61234)).pid if os.getuid() == 0 else os.getpid()
    user = 61234 if other else os.getuid()
address = ctypes.addressof(mask)
attempt("affinity", (AFFINITY, pid, 8, address), (AFFINITY, pid | UPPER, 8, address))
attempt("priority", (PRIORITY, os.PRIO_PROCESS, pid, 5), (PRIORITY, os.PRIO_PROCESS, pid | UPPER, 5))
attempt("of all processes of a user", (PRIORITY, os.PRIO_USER, user, 6), (PRIORITY, os.PRIO_USER | UPPER, user, 6))
if other:
    other.kill()
    other.wait()
