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

with open("/proc/self/cgroup", "rb") as file:
    cgroups = [line.split(b":", 2)[2] for line in file.read().splitlines()]
outside = os.path.realpath("/proc/self/cwd") != "/work"
print("reached" if outside or any(path != b"/" for path in cgroups) else "blocked")
