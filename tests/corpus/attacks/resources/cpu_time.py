# /// attack
# tries = "use more CPU time than its limit, spread over children and with SIGXCPU ignored"
# requirement = "S3"
# layer = "cpu accounting of the cgroup"
# limits = ["--cpu-time=1", "--timeout=20"]
# [control]
# stdout = "started\nreached"
# [inside]
# reason = "CpuTimeLimit"
# exit = 137
# stdout = "started"
# within = 15
# ///
import os
import signal
import time

print("started", flush=True)
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
for _ in range(6):
    if not (child := os.fork()):
        while time.process_time() < 0.6:
            pass
        os._exit(0)
    os.waitpid(child, 0)
print("reached")
