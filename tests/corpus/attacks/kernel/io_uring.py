# /// attack
# tries = "make system calls that the filter does not see, by io_uring (with arguments that the kernel refuses after it was reached)"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = "EFAULT io_uring_setup\nEBADF io_uring_enter\nEINVAL io_uring_register"
# absent = "ENOSYS"
# [inside]
# stdout = "EPERM io_uring_setup io_uring_enter io_uring_register"
# ///
import ctypes
import errno
import platform

# name: (number on x86_64, on aarch64, arguments); 1 is a pointer to nowhere, -1 a value that does not exist
CALLS = {
    "io_uring_setup": (425, 425, (0, 1)),
    "io_uring_enter": (426, 426, (-1, 0, 0, 0, 0, 0)),
    "io_uring_register": (427, 427, (-1, -1, 0, 0)),
}
libc = ctypes.CDLL(None, use_errno=True)
outcomes = {}
for name, (x86_64, aarch64, arguments) in CALLS.items():
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    outcomes.setdefault("reached" if result >= 0 else errno.errorcode[ctypes.get_errno()], []).append(name)
for outcome, names in outcomes.items():
    print(outcome, *names)
