import ctypes
import os
import socket

libc = ctypes.CDLL(None, use_errno=True)


def attempt(name, act):
    try:
        act()
    except OSError as error:
        print("refused", name, error.errno)
    else:
        print("POSSIBLE", name)


def call(function, *arguments):
    if getattr(libc, function)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")


attempt("write to the root", lambda: open("/planted", "w"))
attempt("write to the packages", lambda: open("/opt/python/packages/planted.py", "w"))
attempt("read the host's accounts", lambda: open("/etc/shadow"))
attempt("become root", lambda: os.setuid(0))
attempt("a new user namespace", lambda: call("unshare", 0x10000000))
attempt("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
attempt("trace pid 1", lambda: call("ptrace", 16, 1, 0, 0))
attempt("read the memory of pid 1", lambda: open("/proc/1/mem", "rb"))
attempt("connect to the outside", lambda: socket.create_connection(("192.0.2.1", 80), timeout=2))
attempt("a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("write a kernel setting", lambda: open("/proc/sys/kernel/hostname", "w"))
print("done")
