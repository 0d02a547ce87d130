# /// attack
# tries = "call by numbers of the x32 interface, which a filter of plain numbers lets pass"
# requirement = "K1"
# layer = "seccomp"
# machine = "x86_64"
# [control]
# stdout = "getpid reached\nunshare reached\nptrace ESRCH"
# absent = "ENOSYS"
# [inside]
# reason = "SyscallDenied"
# exit = 159
# stdout = ""
# message_contains = "foreign architecture"
# ///
import ctypes
import errno

X32 = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
for name, arguments in {"getpid": (39,), "unshare": (272, 0), "ptrace": (521, -1, -1)}.items():
    result = libc.syscall(X32 | arguments[0], *map(ctypes.c_long, arguments[1:]))
    print(name, "reached" if result >= 0 else errno.errorcode[ctypes.get_errno()])
