# /// attack
# tries = "drive the hardware's ports and change descriptor tables (x86 only)"
# requirement = "K1"
# layer = "seccomp"
# machine = "x86_64"
# [control]
# stdout = "iopl EINVAL\nioperm EINVAL\nmodify_ldt reached"
# absent = "ENOSYS"
# [inside]
# stdout = "iopl EPERM\nioperm EPERM\nmodify_ldt EPERM"
# ///
import ctypes
import errno

libc = ctypes.CDLL(None, use_errno=True)
for name, arguments in {"iopl": (172, 4), "ioperm": (173, -1, 1, 1), "modify_ldt": (154, 0, 0, 0)}.items():
    result = libc.syscall(*map(ctypes.c_long, arguments))
    print(name, "reached" if result >= 0 else errno.errorcode[ctypes.get_errno()])
