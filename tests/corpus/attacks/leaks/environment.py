# /// attack
# tries = "read the secrets in the environment of the service, also in the block the kernel keeps for /proc"
# requirement = "P4"
# layer = "environment built from nothing"
# [control]
# stdout = "reached {environment_secret}\nkernel block reached"
# [inside]
# stdout = "blocked\nkernel block blocked"
# ///
import json
import os
import sys

name = json.loads(sys.argv[1])["environment_variable"]
print("reached " + os.environ[name] if name in os.environ else "blocked")
with open("/proc/self/environ", "rb") as file:
    print("kernel block", "reached" if name.encode() in file.read() else "blocked")
