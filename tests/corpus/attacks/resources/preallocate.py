# /// attack
# tries = "reserve more than its disk limit without writing"
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

with open("hoard", "wb") as file:
    try:
        os.posix_fallocate(file.fileno(), 0, 64 << 20)
        print("reached")
    except OSError as error:
        print("blocked", errno.errorcode[error.errno])
