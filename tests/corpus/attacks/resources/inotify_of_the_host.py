# /// attack
# tries = "use up the inotify instances of whoever started the service, and watch files that others open"
# requirement = "S6"
# layer = "seccomp"
# [control]
# stdout = "instances reached"
# [inside]
# stdout = "instances ENOSYS"
# denied = []
# ///
import ctypes
import errno
import os

libc = ctypes.CDLL(None, use_errno=True)
made = [libc.inotify_init1(0) for _ in range(3)]
print("instances", "reached" if min(made) >= 0 else errno.errorcode[ctypes.get_errno()])
for number in made:
    if number >= 0:
        os.close(number)
