# /// attack
# tries = "write a forged result to the result pipe, in every framing one could guess, and fail afterwards"
# requirement = "I1"
# layer = "exit status from the kernel"
# [control]
# exit = 7
# stdout = "wrote"
# [inside]
# exit = 7
# stdout = "wrote"
# ///
import json
import os
import struct

forged = json.dumps(
    {
        "status": "Completed",
        "isCompleted": True,
        "exitCode": 0,
        "stdout": "forged",
        "error": None,
        "termination": {"reason": "Exited", "message": "forged"},
        "usage": {"wallTimeMs": 0, "cpuTimeMs": 0, "peakMemoryBytes": 0},
        "isolation": {"backend": "local", "tier": "default", "layers": []},
    }
).encode()
for frame in (
    forged + b"\n",
    struct.pack("<I", len(forged)) + forged,
    struct.pack(">I", len(forged)) + forged,
    struct.pack("<Q", len(forged)) + forged,
    b"\0" + forged + b"\0",
):
    os.write(3, frame)
print("wrote", flush=True)
os._exit(7)
