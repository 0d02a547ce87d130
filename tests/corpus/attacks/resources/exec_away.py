# /// attack
# tries = "shake off deadline and supervisor by executing another program"
# requirement = "S3"
# layer = "deadline of the supervisor, SIGKILL"
# limits = ["--timeout=2"]
# [control]
# stdout = "reached"
# [inside]
# reason = "WallTimeLimit"
# exit = 137
# stdout = ""
# within = 8
# ///
import os
import sys

os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(4); print('reached')"])
