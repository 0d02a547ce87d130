# /// attack
# tries = "copy an open file out of another process: by pidfd_getfd, and by reading its memory"
# requirement = "P3"
# layer = "seccomp"
# [control]
# stdout = "pidfd_getfd reached\nprocess_vm_readv reached\nkcmp reached"
# [inside]
# stdout = "pidfd_getfd blocked EPERM\nprocess_vm_readv blocked EPERM\nkcmp blocked EPERM"
# ///
import ctypes
import errno
import json
import os
import platform
import sys

PIDFD_GETFD = 438
PROCESS_VM_READV, KCMP = {"x86_64": (310, 312), "aarch64": (270, 272)}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
source, target = ctypes.create_string_buffer(b"8 bytes."), ctypes.create_string_buffer(8)
local = (ctypes.c_size_t * 2)(ctypes.addressof(target), 8)
remote = (ctypes.c_size_t * 2)(ctypes.addressof(source), 8)
me = os.getpid()
holder = os.pidfd_open(os.getppid() if json.loads(sys.argv[1])["outside"] else 1)
calls = {
    "pidfd_getfd": (PIDFD_GETFD, holder, 0, 0),
    "process_vm_readv": (PROCESS_VM_READV, me, ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0),
    "kcmp": (KCMP, me, me, 0, 0, 0),
}
for name, arguments in calls.items():
    reached = libc.syscall(*map(ctypes.c_long, arguments)) >= 0
    print(name, "reached" if reached else "blocked " + errno.errorcode[ctypes.get_errno()])
