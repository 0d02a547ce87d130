# /// attack
# tries = "outlive its deadline in native code that never gives the interpreter back"
# requirement = "S3"
# layer = "deadline of the supervisor, SIGKILL"
# limits = ["--timeout=2"]
# [control]
# stdout = "started\nreached"
# [inside]
# reason = "WallTimeLimit"
# exit = 137
# stdout = "started"
# within = 8
# ///
import ctypes

print("started", flush=True)
ctypes.PyDLL(None).usleep(4_000_000)  # PyDLL keeps the interpreter's lock
print("reached")
