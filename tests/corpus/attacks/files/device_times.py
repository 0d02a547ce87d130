# /// attack
# tries = "change a device file that is the host's: its times, which everybody may set to now who may write to it"
# requirement = "F2"
# layer = "read-only mounts"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked EROFS"
# ///
import errno
import os

outcomes = set()
for name in ("null", "zero", "full", "random", "urandom"):
    path = f"/dev/{name}"
    try:
        os.utime(path)
        outcomes.add("reached")
    except OSError as error:
        outcomes.add("blocked " + errno.errorcode[error.errno])
print(*sorted(outcomes), sep="\n")
