# /// attack
# tries = "make a block and a character device (loop 0 and /dev/mem) and read them"
# requirement = "F2"
# layer = "seccomp, no capabilities"
# [control]
# stdout = "block reached\ncharacter reached"
# [inside]
# stdout = "block blocked EPERM\ncharacter blocked EPERM"
# ///
import errno
import os
import stat

for name, kind, device in (("block", stat.S_IFBLK, os.makedev(7, 0)), ("character", stat.S_IFCHR, os.makedev(1, 1))):
    try:
        os.mknod(name, kind | 0o600, device)
        print(name, "reached")
    except OSError as error:
        print(name, "blocked", errno.errorcode[error.errno])
