# /// attack
# tries = "compute beyond its deadline"
# requirement = "S3"
# layer = "deadline of the supervisor"
# limits = ["--timeout=2"]
# [control]
# stdout = "started\nreached"
# [inside]
# reason = "WallTimeLimit"
# exit = 137
# stdout = "started"
# within = 8
# ///
import time

print("started", flush=True)
end = time.monotonic() + 4
while time.monotonic() < end:
    pass
print("reached")
