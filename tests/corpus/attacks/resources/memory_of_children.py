# /// attack
# tries = "spread more memory than its limit over children, each of them below it"
# requirement = "S1"
# layer = "memory cgroup"
# limits = ["--memory=64Mi"]
# [control]
# stdout = "started\nreached"
# [inside]
# reason = "OutOfMemory"
# exit = 137
# stdout = "started"
# ///
import os
import time

print("started", flush=True)
children = []
for _ in range(4):
    if not (child := os.fork()):
        hoard = b"x" * (40 << 20)
        time.sleep(3)
        os._exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
time.sleep(2 if any(codes) else 0)  # a killed child must end the whole execution, not only itself
print("reached" if not any(codes) else f"lived on after {codes}")
