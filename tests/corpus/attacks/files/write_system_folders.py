# /// attack
# tries = "make a file in the folders of the system (O_TMPFILE: it never has a name, so nothing stays on the host)"
# requirement = "F1"
# layer = "read-only mounts"
# [control]
# stdout = "/ reached\n/usr reached\n/usr/lib reached\n/dev reached"
# [inside]
# stdout = "/ blocked EROFS\n/usr blocked EROFS\n/usr/lib blocked EROFS\n/dev blocked EROFS"
# ///
import errno
import os

for folder in ("/", "/usr", "/usr/lib", "/dev"):
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600))
        print(folder, "reached")
    except OSError as error:
        print(folder, "blocked", errno.errorcode[error.errno])
