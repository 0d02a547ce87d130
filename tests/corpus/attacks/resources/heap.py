# /// attack
# tries = "use more heap than its memory limit"
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
print("started", flush=True)
hoard = [b"x" * (1 << 20) for _ in range(160)]
print("reached")
