# /// attack
# tries = "run programs inside the kernel or watch it: bpf, perf, userfaultfd, fanotify (with arguments that the kernel refuses after it was reached)"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = "EINVAL bpf userfaultfd fanotify_init fanotify_mark\nEFAULT perf_event_open"
# absent = "ENOSYS"
# [inside]
# stdout = "EPERM bpf perf_event_open userfaultfd fanotify_init fanotify_mark"
# ///
import ctypes
import errno
import platform

# name: (number on x86_64, on aarch64, arguments); 1 is a pointer to nowhere, -1 a value that does not exist
CALLS = {
    "bpf": (321, 280, (-1, 0, 0)),
    "perf_event_open": (298, 241, (0, 0, -1, -1, 0)),
    "userfaultfd": (323, 282, (-1,)),
    "fanotify_init": (300, 262, (-1, 0)),
    "fanotify_mark": (301, 263, (-1, -1, 0, -1, 1)),
}
libc = ctypes.CDLL(None, use_errno=True)
outcomes = {}
for name, (x86_64, aarch64, arguments) in CALLS.items():
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    outcomes.setdefault("reached" if result >= 0 else errno.errorcode[ctypes.get_errno()], []).append(name)
for outcome, names in outcomes.items():
    print(outcome, *names)
