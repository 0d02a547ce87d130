# /// attack
# tries = "look into pid 1: environment, memory, files and root folder of whoever holds the sandbox"
# requirement = "P3"
# layer = "private /proc with hidepid=ptraceable"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked ENOENT"
# ///
import errno
import json
import os
import sys

# Outside it looks at its parent: pid 1 of a host may be guarded by other means.
folder = f"/proc/{os.getppid()}/" if json.loads(sys.argv[1])["outside"] else "/proc/1/"
outcomes = set()
for path in ("environ", "mem", "maps", "cmdline", "root/etc", "cwd/.", "fd/0", "ns/mnt", "task"):
    try:
        os.stat(folder + path) if "/" in path else os.close(os.open(folder + path, os.O_RDONLY))
        outcomes.add("reached")
    except OSError as error:
        outcomes.add("blocked " + errno.errorcode[error.errno])
print(*sorted(outcomes), sep="\n")
