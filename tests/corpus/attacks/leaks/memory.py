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

flip = bytes(byte ^ 1 for byte in range(256))
# What is looked for is never in this memory as it is, only with a bit flipped in each byte: it must not find itself.
wanted = json.loads(sys.argv[1])["environment_variable"].encode().translate(flip) + b"=canary-".translate(flip)
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
                found += wanted in os.pread(memory, min(1 << 20, end - offset), offset).translate(flip)
            except OSError:
                break  # a page that is reserved and not there
print("reached" if found else "blocked")
