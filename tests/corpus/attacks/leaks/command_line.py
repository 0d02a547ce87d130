# /// attack
# tries = "learn of the host from paths in its own command line, its mounts and its cgroup"
# requirement = "P3"
# layer = "mount and cgroup namespaces"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked"
# ///
import os

text = b""
for name in ("cmdline", "cgroup"):
    with open(f"/proc/self/{name}", "rb") as file:
        text += file.read()
cgroups = [line.split(b":", 2)[2] for line in text.splitlines() if line.count(b":") >= 2]
outside = os.path.realpath("/proc/self/cwd") != "/work"
print("reached" if outside or any(path != b"/" for path in cgroups) else "blocked")
