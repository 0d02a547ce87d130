# /// attack
# tries = "drown the service in output"
# requirement = "S5"
# layer = "output limit"
# [control]
# stdout_bytes = 301989888
# [inside]
# reason = "OutputLimit"
# exit = 137
# truncated = ["stdout"]
# ///
import os

chunk = b"spam and ham. " * 4681 + b"\n\n"  # 64 KiB
for _ in range(288 << 4):
    written = 0
    while written < len(chunk):
        written += os.write(1, chunk[written:])
