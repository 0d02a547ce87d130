# /// attack
# tries = "switch on process accounting of the machine (with arguments that the kernel refuses after it was reached)"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = "EFAULT acct"
# absent = "ENOSYS"
# [inside]
# stdout = "EPERM acct"
# ///
import ctypes
import errno
import platform

# name: (number on x86_64, on aarch64, arguments); 1 is a pointer to nowhere, -1 a value that does not exist
CALLS = {
    "acct": (163, 89, (1,)),
}
libc = ctypes.CDLL(None, use_errno=True)
outcomes = {}
for name, (x86_64, aarch64, arguments) in CALLS.items():
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    outcomes.setdefault("reached" if result >= 0 else errno.errorcode[ctypes.get_errno()], []).append(name)
for outcome, names in outcomes.items():
    print(outcome, *names)
