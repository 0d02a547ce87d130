# /// attack
# tries = "enter a namespace by its file"
# requirement = "P3"
# layer = "seccomp"
# [control]
# stdout = "net reached\nipc reached\nuts reached"
# [inside]
# stdout = "net blocked EPERM\nipc blocked EPERM\nuts blocked EPERM"
# ///
import ctypes
import errno
import os

libc = ctypes.CDLL(None, use_errno=True)
for name in ("net", "ipc", "uts"):
    file = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
    if libc.setns(file, 0) == 0:
        print(name, "reached")
    else:
        print(name, "blocked", errno.errorcode[ctypes.get_errno()])
