# /// attack
# tries = "find what an earlier run left in the writable folders"
# requirement = "F1"
# layer = "writable folders of their own per execution"
# runs = 2
# [control]
# stdout = "reached 3"
# [inside]
# stdout = "blocked"
# ///
import json
import os
import sys
import tempfile

token = json.loads(sys.argv[1])["token"]
found = 0
for folder in (os.getcwd(), tempfile.gettempdir(), "/dev/shm"):
    mark = f"{folder}/corpus-{token}"
    if os.path.exists(mark):
        found += 1
        os.remove(mark)  # the second run tidies up
    else:
        open(mark, "w").close()
print(f"reached {found}" if found else "blocked")
