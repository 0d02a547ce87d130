# /// attack
# tries = "look into pid 1: environment, memory, files and root folder of whoever holds the sandbox"
# requirement = "P3"
# layer = "private /proc with hidepid=ptraceable"
# [control]
# stdout = "environ reached\nmem reached\nmaps reached\ncmdline reached\nroot/etc reached\ncwd/. reached\nfd/0 reached\nns/mnt reached\ntask reached"
# [inside]
# stdout = "environ blocked ENOENT\nmem blocked ENOENT\nmaps blocked ENOENT\ncmdline blocked ENOENT\nroot/etc blocked ENOENT\ncwd/. blocked ENOENT\nfd/0 blocked ENOENT\nns/mnt blocked ENOENT\ntask blocked ENOENT"
# ///
import errno
import json
import os
import sys

# Outside it looks at its parent: pid 1 of a host may be guarded by other means.
folder = f"/proc/{os.getppid()}/" if json.loads(sys.argv[1])["outside"] else "/proc/1/"
for path in ("environ", "mem", "maps", "cmdline", "root/etc", "cwd/.", "fd/0", "ns/mnt", "task"):
    try:
        os.stat(folder + path) if "/" in path else os.close(os.open(folder + path, os.O_RDONLY))
        print(path, "reached")
    except OSError as error:
        print(path, "blocked", errno.errorcode[error.errno])
