# /// attack
# tries = "take more of the processor than its share, with two threads of native code"
# requirement = "S3"
# layer = "cpu cgroup"
# limits = ["--cpu=100m"]
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked"
# ///
import hashlib
import threading
import time

end = time.monotonic() + 2.5


def work():
    while time.monotonic() < end:
        hashlib.sha256(bytes(1 << 16)).digest()  # without the interpreter's lock


threads = [threading.Thread(target=work) for _ in range(2)]
used = time.process_time()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
used = time.process_time() - used
print("reached" if used > 0.6 else "blocked")
