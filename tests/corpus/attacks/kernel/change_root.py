# /// attack
# tries = "leave its root folder by a second chroot"
# requirement = "K1"
# layer = "seccomp, no capabilities"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked EPERM"
# ///
import errno
import os

os.mkdir("deeper")
try:
    os.chroot("deeper")
    print("reached")
except OSError as error:
    print("blocked", errno.errorcode[error.errno])
