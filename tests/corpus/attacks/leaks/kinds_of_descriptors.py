# /// attack
# tries = "find something better than pipes at its descriptors 0 to 3, and read from the result pipe"
# requirement = "P2"
# layer = "pipes"
# [control]
# stdout = "0 null\n1 fifo\n2 fifo\n3 file\nreached {file_secret}"
# [inside]
# stdout = "0 fifo or null\n1 fifo\n2 fifo\n3 fifo\nblocked EBADF"
# ///
import errno
import json
import os
import stat
import sys

KINDS = {stat.S_IFIFO: "fifo", stat.S_IFCHR: "null", stat.S_IFREG: "file", stat.S_IFSOCK: "socket"}
inside = not json.loads(sys.argv[1])["outside"]
for descriptor in range(4):
    kind = KINDS[stat.S_IFMT(os.fstat(descriptor).st_mode)]
    if inside and descriptor == 0 and kind in ("fifo", "null") and not os.isatty(0):
        kind = "fifo or null"
    print(descriptor, kind)
try:
    print("reached", os.read(3, 200).decode())
except OSError as error:
    print("blocked", errno.errorcode[error.errno])
