# /// attack
# tries = "make a user namespace by clone3, whose flags no filter can read: it must look as if the kernel were older"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked ENOSYS"
# ///
import ctypes
import errno
import os

CLONE3, CLONE_NEWUSER, SIGCHLD = 435, 0x10000000, 17
libc = ctypes.CDLL(None, use_errno=True)
arguments = (ctypes.c_uint64 * 8)(CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0)
child = libc.syscall(CLONE3, arguments, ctypes.c_size_t(64))
if child == 0:
    os._exit(0)
print("reached" if child > 0 else "blocked " + errno.errorcode[ctypes.get_errno()])
