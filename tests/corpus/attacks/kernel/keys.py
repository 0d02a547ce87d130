# /// attack
# tries = "use the kernel's key rings, which no namespace separates (with arguments that the kernel refuses after it was reached)"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = "ENOTSUP keyctl\nEFAULT add_key request_key"
# absent = "ENOSYS"
# [inside]
# stdout = "EPERM keyctl add_key request_key"
# ///
import ctypes
import errno
import platform

# name: (number on x86_64, on aarch64, arguments); 1 is a pointer to nowhere, -1 a value that does not exist
CALLS = {
    "keyctl": (250, 219, (-1, 0, 0, 0, 0)),
    "add_key": (248, 217, (1, 1, 0, 0, 0)),
    "request_key": (249, 218, (1, 1, 0, 0)),
}
libc = ctypes.CDLL(None, use_errno=True)
outcomes = {}
for name, (x86_64, aarch64, arguments) in CALLS.items():
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    outcomes.setdefault("reached" if result >= 0 else errno.errorcode[ctypes.get_errno()], []).append(name)
for outcome, names in outcomes.items():
    print(outcome, *names)
