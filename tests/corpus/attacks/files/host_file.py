# /// attack
# tries = "read a file of the host through its usual path, directly and through a symlink planted in the work folder"
# requirement = "F1"
# layer = "mount namespace"
# [control]
# stdout = "open reached {file_secret}\nlink reached {file_secret}"
# [inside]
# stdout = "open blocked ENOENT\nlink blocked ENOENT"
# ///
import errno
import json
import os
import sys

canary = json.loads(sys.argv[1])
os.symlink(canary["secret_file"], "result.txt")
for name, path in {"open": canary["secret_file"], "link": "result.txt"}.items():
    try:
        with open(path) as file:
            print(name, "reached", file.read())
    except OSError as error:
        print(name, "blocked", errno.errorcode[error.errno])
