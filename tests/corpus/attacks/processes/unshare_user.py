# /// attack
# tries = "get capabilities in a new user namespace: by unshare, by clone, and by a child that executes Python anew"
# requirement = "P5"
# layer = "seccomp"
# [control]
# stdout = "unshare reached\nclone reached\nexec reached"
# [inside]
# stdout = "unshare blocked EPERM\nclone blocked EPERM\nexec blocked EPERM"
# denied = ["clone", "unshare"]
# ///
import ctypes
import errno
import os
import platform
import subprocess
import sys

CLONE_NEWUSER, SIGCHLD = 0x10000000, 17
CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)


def outcome(result):
    return "reached" if result == 0 else "blocked " + errno.errorcode[ctypes.get_errno()]


def in_child(action):
    read, write = os.pipe()
    if child := os.fork():
        os.close(write)
        os.waitpid(child, 0)
        return os.read(read, 100).decode()
    os.write(write, outcome(action()).encode())
    os._exit(0)


if sys.argv[1] == "again":
    print(in_child(lambda: libc.unshare(CLONE_NEWUSER)))
    sys.exit()
print("unshare", in_child(lambda: libc.unshare(CLONE_NEWUSER)))
child = libc.syscall(CLONE, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)
if child == 0:
    os._exit(0)
print("clone", outcome(min(child, 0)), flush=True)
print("exec", subprocess.run([sys.executable, __file__, "again"], capture_output=True, text=True).stdout.strip())
