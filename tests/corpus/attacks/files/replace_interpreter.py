# /// attack
# tries = "change the interpreter, the standard library and the packages that every later run uses"
# requirement = "F4"
# layer = "read-only mounts"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked EROFS"
# ///
import errno
import os
import sys

outcomes = set()


def attempt(action, *arguments, **options):
    try:
        action(*arguments, **options)
        outcomes.add("reached")
    except OSError as error:
        outcomes.add("blocked " + errno.errorcode[error.errno])


for path in (sys.executable, "/proc/self/exe", os.__file__, os.path.dirname(os.__file__) + "/json/decoder.py"):
    status = os.stat(path)
    attempt(os.utime, path, ns=(status.st_atime_ns, status.st_mtime_ns))  # a write to the inode that changes nothing
for folder in sys.path[1:]:
    if os.path.isdir(folder):
        attempt(lambda: os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)))
print(*sorted(outcomes), sep="\n")
