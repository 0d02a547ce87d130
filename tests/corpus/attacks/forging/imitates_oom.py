# /// attack
# tries = "look as if the memory limit had killed it: die of SIGKILL"
# requirement = "I2"
# layer = "verdict from the kernel's counters"
# [control]
# signal = 9
# stdout = "now"
# [inside]
# reason = "Signal"
# exit = 137
# stdout = "now"
# ///
import os
import signal

print("now", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
