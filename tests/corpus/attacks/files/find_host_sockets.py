# /// attack
# tries = "find a socket of the host (Docker, D-Bus, containerd, …) or a disk anywhere in the file tree"
# requirement = "F3"
# layer = "mount namespace"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked: nothing found"
# ///
import json
import os
import stat
import sys

canary = json.loads(sys.argv[1])
start = os.path.dirname(canary["unix_socket"]) if canary["outside"] else "/"
found = []
for folder, folders, files in os.walk(start):
    folders[:] = [name for name in folders if os.path.join(folder, name) != "/proc"]
    for name in folders + files:
        path = os.path.join(folder, name)
        mode = os.lstat(path).st_mode
        if stat.S_ISSOCK(mode) or stat.S_ISBLK(mode) or name == os.path.basename(canary["secret_file"]):
            found.append(path)
print("reached" if found else "blocked: nothing found")
