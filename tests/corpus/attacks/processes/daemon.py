# /// attack
# tries = "live on as a daemon in its own session after the main process has ended, and keep stdout open"
# requirement = "S4"
# layer = "pid namespace, cgroup"
# [control]
# stdout = "done\nreached: alive"
# [inside]
# stdout = "done"
# within = 8
# ///
import os
import signal
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(9)
        os.write(1, b"reached: alive\n")
    os._exit(0)
os.wait()
print("done", flush=True)
