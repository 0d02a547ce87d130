# /// attack
# tries = "hold more memory than its limit in a shared anonymous mapping"
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
import mmap

print("started", flush=True)
hoard = mmap.mmap(-1, 160 << 20)
for offset in range(0, len(hoard), mmap.PAGESIZE):
    hoard[offset] = 1
print("reached")
