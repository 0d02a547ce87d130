# /// attack
# tries = "hold more memory than its limit in a file without a name"
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

print("started", flush=True)
file = os.memfd_create("hoard")
for _ in range(160):
    os.write(file, b"x" * (1 << 20))
print("reached")
