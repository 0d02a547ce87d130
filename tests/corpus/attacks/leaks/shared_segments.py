# /// attack
# tries = "find System V shared memory of an earlier run"
# requirement = "P3"
# layer = "ipc namespace"
# runs = 2
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked"
# ///
import ctypes
import json
import sys

IPC_CREAT, IPC_RMID = 0o1000, 0
key = int(json.loads(sys.argv[1])["token"][:7], 16)
libc = ctypes.CDLL(None)
segment = libc.shmget(key, 4096, 0)
if segment >= 0:
    libc.shmctl(segment, IPC_RMID, None)  # the second run tidies up
    print("reached")
else:
    libc.shmget(key, 4096, IPC_CREAT | 0o600)
    print("blocked")
