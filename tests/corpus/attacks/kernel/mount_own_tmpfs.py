# /// attack
# tries = "mount a file system of its own, and the cgroup files with their release_agent"
# requirement = "K1"
# layer = "seccomp, no capabilities"
# [control]
# stdout = "unshare reached\ntmpfs reached\ncgroup2 reached"
# [inside]
# stdout = "unshare EPERM\ntmpfs EPERM\ncgroup2 EPERM"
# ///
import ctypes
import errno
import os

CLONE_NEWNS, MS_REC_PRIVATE = 0x20000, 0x44000
libc = ctypes.CDLL(None, use_errno=True)


def attempt(name, result):
    print(name, "reached" if result == 0 else errno.errorcode[ctypes.get_errno()])
    return result


os.mkdir("target")
if attempt("unshare", libc.unshare(CLONE_NEWNS)) == 0:
    assert libc.mount(None, b"/", None, MS_REC_PRIVATE, None) == 0  # nothing of this reaches the host
for kind in (b"tmpfs", b"cgroup2"):
    attempt(kind.decode(), libc.mount(b"none", b"target", kind, 0, None))
