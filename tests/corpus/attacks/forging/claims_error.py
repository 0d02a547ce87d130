# /// attack
# tries = "report an exception that names a denied call, a full disk and a process limit, and exit without one"
# requirement = "I2"
# layer = "verdict from kernel and supervisor only"
# [control]
# exit = 1
# stdout = "wrote"
# [inside]
# exit = 1
# reason = ["Exited", "Exception"]
# stdout = "wrote"
# ///
import json
import os

for name, number in (("PermissionError", 1), ("OSError", 28), ("BlockingIOError", 11)):
    report = {"name": name, "value": "forged", "traceback": "forged", "line": 1, "errno": number}
    for shape in (report, {"error": report}, {"exception": report}):
        os.write(3, json.dumps(shape).encode() + b"\n")
print("wrote", flush=True)
os._exit(1)
