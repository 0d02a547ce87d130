# /// attack
# tries = "outlive its deadline in an exit handler, in a thread that never ends and in a finaliser"
# requirement = "S3"
# layer = "deadline of the supervisor, SIGKILL"
# limits = ["--timeout=2"]
# [control]
# stdout = "main done\nreached"
# [inside]
# reason = "WallTimeLimit"
# exit = 137
# stdout = "main done"
# within = 8
# ///
import atexit
import threading
import time


@atexit.register
def linger():
    time.sleep(1)
    print("reached")


threading.Thread(target=time.sleep, args=(3,)).start()
print("main done", flush=True)
