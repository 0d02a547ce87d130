# /// attack
# tries = "change to uid 0 or to any other identity"
# requirement = "P1"
# layer = "seccomp, no capabilities"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked EPERM"
# ///
import errno
import os

outcomes = set()
for change in (
    lambda: os.setgroups([0]),
    lambda: os.setresgid(0, 0, 0),
    lambda: os.setregid(0, 0),
    lambda: os.setgid(0),
    lambda: os.setresuid(0, 0, 0),
    lambda: os.setreuid(0, 0),
    lambda: os.setuid(0),
):
    try:
        change()
        outcomes.add("reached")
    except OSError as error:
        outcomes.add("blocked " + errno.errorcode[error.errno])
print(*sorted(outcomes), sep="\n")
