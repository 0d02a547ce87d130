# /// attack
# tries = "claim an end that did not happen: out of memory, a time limit, a failure of the sandbox"
# requirement = "I2"
# layer = "verdict from kernel and supervisor only"
# [control]
# stdout = "wrote"
# [inside]
# stdout = "wrote"
# ///
import json
import os

for reason in ("OutOfMemory", "WallTimeLimit", "SandboxFailure", "Cancelled", "SyscallDenied", "DiskLimit"):
    os.write(3, json.dumps({"termination": {"reason": reason}, "reason": reason, "status": "Failed"}).encode() + b"\n")
print("wrote", flush=True)
os._exit(0)
