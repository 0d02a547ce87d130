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
import itertools
import os

for number in itertools.count():
    for folder in (os.getcwd(), "/tmp", "/dev/shm"):
        path = f"{folder}/disk-uncaught-{os.getpid()}-{number}"
        with open(path, "wb") as file:
            if number < 16:
                file.write(b"x" * (1 << 20))
            else:
                print("reached")
                for name in range(number + 1):
                    for place in (os.getcwd(), "/tmp", "/dev/shm"):
                        try:
                            os.unlink(f"{place}/disk-uncaught-{os.getpid()}-{name}")
                        except FileNotFoundError:
                            pass
                raise SystemExit
