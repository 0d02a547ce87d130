# /// attack
# tries = "find a privilege at its first instruction: uid 0, a capability, no no_new_privs, no filter"
# requirement = "P1"
# layer = "privileges"
# [control]
# stdout = "reached"
# [inside]
# stdout = '''
# uid 1000 1000 1000 gid 1000 1000 1000
# CapInh 0 CapPrm 0 CapEff 0 CapBnd 0 CapAmb 0
# NoNewPrivs 1 Seccomp 2
# session own
# '''
# ///
import os

with open("/proc/self/status") as file:
    status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
if os.getuid() == 0 and int(status["CapEff"], 16) and status["NoNewPrivs"] == "0":
    print("reached")
else:
    print("uid", *os.getresuid(), "gid", *os.getresgid())
    print(*(f"{name} {int(status[name], 16):x}" for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")))
    print(*(f"{name} {status[name]}" for name in ("NoNewPrivs", "Seccomp")))
    # A session leader from outside would be 0 here; the terminal of the caller would be open.
    print("session", "own" if os.getsid(0) > 0 and not os.isatty(0) else "of the caller")
