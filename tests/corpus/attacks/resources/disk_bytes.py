# /// attack
# tries = "write more than its disk limit, see the error and go on"
# requirement = "F1"
# layer = "disk limit"
# limits = ["--disk=32Mi", "--memory=256Mi"]
# [control]
# stdout = "reached\nremoved"
# [inside]
# stdout = "blocked ENOSPC\nremoved"
# ///
import errno
import os

try:
    with open("hoard", "wb", buffering=0) as file:
        for _ in range(48):
            file.write(b"x" * (1 << 20))
            os.fsync(file.fileno())
    print("reached")
except OSError as error:
    print("blocked", errno.errorcode[error.errno])
os.remove("hoard")
with open("small", "w") as file:
    file.write("there is room again")
print("removed")
