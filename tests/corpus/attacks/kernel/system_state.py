# /// attack
# tries = "stop, replace or retime the whole machine (with arguments that the kernel refuses after it was reached)"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = "EINVAL reboot swapon sethostname setdomainname syslog quotactl\nEFAULT swapoff settimeofday clock_settime clock_adjtime adjtimex"
# [inside]
# stdout = "EPERM reboot swapon swapoff settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname syslog quotactl"
# ///
import ctypes
import errno
import platform

# name: (number on x86_64, on aarch64, arguments); 1 is a pointer to nowhere, -1 a value that does not exist
CALLS = {
    "reboot": (169, 142, (0, 0, 0, 0)),
    "swapon": (167, 224, (1, -1)),
    "swapoff": (168, 225, (1,)),
    "settimeofday": (164, 170, (1, 1)),
    "clock_settime": (227, 112, (-1, 1)),
    "clock_adjtime": (305, 266, (99, 1)),
    "adjtimex": (159, 171, (1,)),
    "sethostname": (170, 161, (1, -1)),
    "setdomainname": (171, 162, (1, -1)),
    "syslog": (103, 116, (-1, 0, 0)),
    "quotactl": (179, 60, (-1, 0, 0, 0)),
}
libc = ctypes.CDLL(None, use_errno=True)
outcomes = {}
for name, (x86_64, aarch64, arguments) in CALLS.items():
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    outcomes.setdefault("reached" if result >= 0 else errno.errorcode[ctypes.get_errno()], []).append(name)
for outcome, names in outcomes.items():
    print(outcome, *names)
