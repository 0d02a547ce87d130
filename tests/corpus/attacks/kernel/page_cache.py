# /// attack
# tries = "move pages between pipes and files, as the page cache attacks did (with arguments that the kernel refuses after it was reached)"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = "EBADF splice tee vmsplice\nEINVAL memfd_secret"
# absent = "ENOSYS"
# [inside]
# stdout = "EPERM splice tee vmsplice memfd_secret"
# ///
import ctypes
import errno
import platform

# name: (number on x86_64, on aarch64, arguments); 1 is a pointer to nowhere, -1 a value that does not exist
CALLS = {
    "splice": (275, 76, (-1, 0, -1, 0, 1, 0)),
    "tee": (276, 77, (-1, -1, 1, 0)),
    "vmsplice": (278, 75, (-1, 0, 0, 0)),
    "memfd_secret": (447, 447, (-1,)),
}
libc = ctypes.CDLL(None, use_errno=True)
outcomes = {}
for name, (x86_64, aarch64, arguments) in CALLS.items():
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    outcomes.setdefault("reached" if result >= 0 else errno.errorcode[ctypes.get_errno()], []).append(name)
for outcome, names in outcomes.items():
    print(outcome, *names)
