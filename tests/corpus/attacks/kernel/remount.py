# /// attack
# tries = "make the read-only folders writable again"
# requirement = "K1"
# layer = "seccomp, no capabilities"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked EPERM"
# ///
import ctypes
import errno

CLONE_NEWNS, MS_REMOUNT_BIND, MS_RDONLY, MS_BIND, MS_REC_PRIVATE = 0x20000, 0x1020, 1, 0x1000, 0x44000
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(CLONE_NEWNS) == 0:
    # In a mount namespace of its own nothing reaches the host; a read-only bind of /usr stands in.
    assert libc.mount(None, b"/", None, MS_REC_PRIVATE, None) == 0
    assert libc.mount(b"/usr", b"/usr", None, MS_BIND, None) == 0
    assert libc.mount(None, b"/usr", None, MS_REMOUNT_BIND | MS_RDONLY, None) == 0
result = libc.mount(None, b"/usr", None, MS_REMOUNT_BIND, None)
print("reached" if result == 0 else "blocked " + errno.errorcode[ctypes.get_errno()])
