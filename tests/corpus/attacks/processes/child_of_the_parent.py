# /// attack
# tries = "make a child of its own parent's, whose end that one would have to judge"
# requirement = "I1"
# layer = "seccomp"
# [control]
# stdout = "reached, 2 children"
# [inside]
# stdout = "blocked EPERM, 1 children"
# denied = ["clone"]
# ///
import ctypes
import errno
import os
import platform

CLONE_PARENT, SIGCHLD = 0x8000, 17
CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)

# A child of this process tries it, so that outside nobody but this process gets another child.
read, write = os.pipe()
if os.fork() == 0:
    made = libc.syscall(CLONE, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0)
    if made != 0:
        os.write(write, b"reached" if made > 0 else b"blocked " + errno.errorcode[ctypes.get_errno()].encode())
    os._exit(0)
os.close(write)
said = os.read(read, 100).decode()
children = 0
try:
    while True:
        os.wait()
        children += 1
except ChildProcessError:
    print(f"{said}, {children} children")
