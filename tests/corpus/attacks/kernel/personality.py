# /// attack
# tries = "switch off the randomised address space for the programs it starts"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = "query reached\nchange reached"
# [inside]
# stdout = "query reached\nchange EPERM"
# ///
import ctypes
import errno

ADDR_NO_RANDOMIZE = 0x0040000
libc = ctypes.CDLL(None, use_errno=True)
for name, value in {"query": 0xFFFFFFFF, "change": ADDR_NO_RANDOMIZE}.items():
    result = libc.personality(ctypes.c_ulong(value))
    print(name, "reached" if result >= 0 else errno.errorcode[ctypes.get_errno()])
