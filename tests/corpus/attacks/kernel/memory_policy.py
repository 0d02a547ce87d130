# /// attack
# tries = "move memory between nodes (with arguments that the kernel refuses after it was reached)"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = "EINVAL set_mempolicy migrate_pages move_pages"
# absent = "ENOSYS"
# [inside]
# stdout = "EPERM set_mempolicy migrate_pages move_pages"
# ///
import ctypes
import errno
import platform

# name: (number on x86_64, on aarch64, arguments); 1 is a pointer to nowhere, -1 a value that does not exist
CALLS = {
    "set_mempolicy": (238, 237, (-1, 0, 0)),
    "migrate_pages": (256, 238, (-1, 0, 1, 1)),
    "move_pages": (279, 239, (0, 1, 1, 0, 0, -1)),
}
libc = ctypes.CDLL(None, use_errno=True)
outcomes = {}
for name, (x86_64, aarch64, arguments) in CALLS.items():
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    outcomes.setdefault("reached" if result >= 0 else errno.errorcode[ctypes.get_errno()], []).append(name)
for outcome, names in outcomes.items():
    print(outcome, *names)
