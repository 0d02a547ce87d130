# /// attack
# tries = "signal, inspect and trace a process of the host"
# requirement = "P3"
# layer = "pid namespace, seccomp"
# [control]
# stdout = "signal reached\nenviron reached {victim_secret}\nmemory reached\nptrace reached"
# [inside]
# stdout = "signal blocked ESRCH\nenviron blocked ENOENT\nmemory blocked ENOENT\nptrace blocked EPERM"
# ///
import ctypes
import errno
import json
import os
import signal
import sys

PTRACE_SEIZE = 0x4206
victim = json.loads(sys.argv[1])["victim"]
libc = ctypes.CDLL(None, use_errno=True)


def environ():
    with open(f"/proc/{victim}/environ", "rb") as file:
        return [entry.split(b"=", 1)[1].decode() for entry in file.read().split(b"\0") if b"VICTIM" in entry][0]


def ptrace():
    if libc.ptrace(PTRACE_SEIZE, victim, None, None) < 0:  # our own end detaches it again
        raise OSError(ctypes.get_errno(), "ptrace")


attempts = {
    "signal": lambda: os.kill(victim, signal.SIGCONT),
    "environ": environ,
    "memory": lambda: open(f"/proc/{victim}/mem", "r+b").close(),
    "ptrace": ptrace,
}
for name, attempt in attempts.items():
    try:
        print(name, "reached", *filter(None, [attempt()]))
    except OSError as error:
        print(name, "blocked", errno.errorcode[error.errno])
