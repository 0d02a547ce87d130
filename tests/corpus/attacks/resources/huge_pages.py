# /// attack
# tries = "make a file of the host's pool of huge pages, which no memory limit covers"
# requirement = "S1"
# layer = "seccomp"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked EINVAL"
# ///
import errno
import os

try:
    os.close(os.memfd_create("huge", os.MFD_HUGETLB))
    print("reached")
except OSError as error:
    print("blocked", errno.errorcode[error.errno])
