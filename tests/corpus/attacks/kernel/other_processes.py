# /// attack
# tries = "reach into other processes (with arguments that the kernel refuses after it was reached)"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = "ESRCH ptrace kcmp\nEINVAL process_vm_readv process_vm_writev process_madvise pidfd_getfd unshare\nEBADF setns\nEFAULT capset"
# [inside]
# stdout = "EPERM ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp setns unshare capset"
# ///
import ctypes
import errno
import platform

# name: (number on x86_64, on aarch64, arguments); 1 is a pointer to nowhere, -1 a value that does not exist
CALLS = {
    "ptrace": (101, 117, (-1, -1, 0, 0)),
    "process_vm_readv": (310, 270, (-1, 0, 0, 0, 0, -1)),
    "process_vm_writev": (311, 271, (-1, 0, 0, 0, 0, -1)),
    "process_madvise": (440, 440, (-1, 0, 0, 0, -1)),
    "pidfd_getfd": (438, 438, (-1, -1, -1)),
    "kcmp": (312, 272, (-1, -1, 0, 0, 0)),
    "setns": (308, 268, (-1, 0)),
    "unshare": (272, 97, (-1,)),
    "capset": (126, 91, (1, 1)),
}
libc = ctypes.CDLL(None, use_errno=True)
outcomes = {}
for name, (x86_64, aarch64, arguments) in CALLS.items():
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    outcomes.setdefault("reached" if result >= 0 else errno.errorcode[ctypes.get_errno()], []).append(name)
for outcome, names in outcomes.items():
    print(outcome, *names)
