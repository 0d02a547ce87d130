# /// attack
# tries = "load a module or another kernel (with arguments that the kernel refuses after it was reached)"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = [
#     "EFAULT init_module delete_module\nEBADF finit_module kexec_file_load\nEINVAL kexec_load",
#     "ENOMEM init_module\nEINVAL finit_module kexec_load kexec_file_load\nEFAULT delete_module", # before Linux 6.18
# ]
# absent = "ENOSYS"
# [inside]
# stdout = "EPERM init_module finit_module delete_module kexec_load kexec_file_load"
# ///
import ctypes
import errno
import platform

# name: (number on x86_64, on aarch64, arguments); 1 is a pointer to nowhere, -1 a value that does not exist
CALLS = {
    "init_module": (175, 105, (1, -1, 1)),
    "finit_module": (313, 273, (-1, 1, -1)),
    "delete_module": (176, 106, (1, 0)),
    "kexec_load": (246, 104, (0, 99, 1, -1)),
    "kexec_file_load": (320, 294, (-1, -1, 0, 1, -1)),
}
libc = ctypes.CDLL(None, use_errno=True)
outcomes = {}
for name, (x86_64, aarch64, arguments) in CALLS.items():
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    outcomes.setdefault("reached" if result >= 0 else errno.errorcode[ctypes.get_errno()], []).append(name)
for outcome, names in outcomes.items():
    print(outcome, *names)
