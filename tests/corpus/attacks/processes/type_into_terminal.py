# /// attack
# tries = "push characters into a terminal (TIOCSTI, TIOCLINUX), also with garbage in the upper half of the request"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = "TIOCSTI reached\nTIOCSTI with upper bits reached\nTIOCLINUX ENOTTY\nTIOCSETD reached"
# [inside]
# stdout = "TIOCSTI EPERM\nTIOCSTI with upper bits ENOTTY\nTIOCLINUX EPERM\nTIOCSETD EPERM"
# ///
import ctypes
import errno
import os
import platform

IOCTL = {"x86_64": 16, "aarch64": 29}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
try:
    terminal = os.openpty()[1]
except OSError:
    terminal = 0  # no terminals in here: the filter answers before anybody looks at the file
argument = ctypes.create_string_buffer(b"\0\0\0\0")
requests = {"TIOCSTI": 0x5412, "TIOCSTI with upper bits": 0x5412 | 1 << 32, "TIOCLINUX": 0x541C, "TIOCSETD": 0x5423}
for name, request in requests.items():
    result = libc.syscall(IOCTL, terminal, ctypes.c_ulong(request), argument)
    print(name, "reached" if result >= 0 else errno.errorcode[ctypes.get_errno()])
