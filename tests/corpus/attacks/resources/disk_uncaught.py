# /// attack
# tries = "fill all writable folders together and die of it: the verdict must name the disk"
# requirement = "F1"
# layer = "disk limit"
# limits = ["--disk=32Mi", "--memory=256Mi"]
# [control]
# stdout = "reached"
# [inside]
# reason = "DiskLimit"
# exit = 1
# stdout = ""
# error = "OSError"
# errno = 28
# ///
import os
import tempfile

files = [tempfile.TemporaryFile(dir=folder) for folder in (os.getcwd(), tempfile.gettempdir(), "/dev/shm")]
for _ in range(16):
    for file in files:
        os.write(file.fileno(), b"x" * (1 << 20))
print("reached")
