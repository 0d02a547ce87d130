# /// attack
# tries = "open files by handle, past every mount (with arguments that the kernel refuses after it was reached)"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = [
#     "EFAULT open_by_handle_at\nEINVAL name_to_handle_at",
#     "EBADF open_by_handle_at\nEINVAL name_to_handle_at", # before Linux 6.18
# ]
# [inside]
# stdout = "EPERM open_by_handle_at name_to_handle_at"
# ///
import ctypes
import errno
import platform

# name: (number on x86_64, on aarch64, arguments); 1 is a pointer to nowhere, -1 a value that does not exist
CALLS = {
    "open_by_handle_at": (304, 265, (-1, 1, 0)),
    "name_to_handle_at": (303, 264, (-1, 1, 1, 1, -1)),
}
libc = ctypes.CDLL(None, use_errno=True)
outcomes = {}
for name, (x86_64, aarch64, arguments) in CALLS.items():
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    outcomes.setdefault("reached" if result >= 0 else errno.errorcode[ctypes.get_errno()], []).append(name)
for outcome, names in outcomes.items():
    print(outcome, *names)
