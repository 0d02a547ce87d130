# /// attack
# tries = "find a secret of the service in its own memory, inherited by fork"
# requirement = "P4"
# layer = "a zygote without secrets"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked"
# ///
import json
import os
import sys

wanted = json.loads(sys.argv[1])["environment_variable"][::-1].encode()  # not in the same order: it must not find itself
wanted = bytes(reversed(wanted)) + b"="
found = 0
memory = os.open("/proc/self/mem", os.O_RDONLY)
with open("/proc/self/maps") as maps:
    for line in maps.readlines():
        bounds, access = line.split()[:2]
        if "r" not in access or line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
            continue
        begin, end = (int(part, 16) for part in bounds.split("-"))
        for offset in range(begin, end, 1 << 20):
            try:
                found += wanted + b"canary-" in os.pread(memory, min(1 << 20, end - offset), offset)
            except OSError:
                break  # a page that is reserved and not there
print("reached" if found else "blocked")
