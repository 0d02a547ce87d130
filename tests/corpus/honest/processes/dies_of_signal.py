# /// honest
# shows = "SIGTERM sent to oneself has its usual effect, and the verdict says so"
# reason = "Signal"
# exit = 143
# stdout = "before"
# ///
import os
import signal

print("before", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print("after")
