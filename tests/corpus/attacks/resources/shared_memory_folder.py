# /// attack
# tries = "fill /dev/shm beyond the disk limit: it is a writable folder like the others"
# requirement = "F1"
# layer = "disk limit"
# limits = ["--disk=32Mi", "--memory=256Mi"]
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked ENOSPC"
# ///
import errno
import os
import tempfile

with tempfile.TemporaryFile(dir="/dev/shm") as file:  # without a name: it is gone with its descriptor
    try:
        for _ in range(48):
            os.write(file.fileno(), b"x" * (1 << 20))
        print("reached")
    except OSError as error:
        print("blocked", errno.errorcode[error.errno])
