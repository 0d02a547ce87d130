# /// attack
# tries = "give a file of the read-only tree a second name in the writable one, to change it there"
# requirement = "F4"
# layer = "mounts of their own"
# [control]
# stdout = "link reached\nwrite reached"
# [inside]
# stdout = "link blocked EXDEV\nwrite blocked ENOENT"
# ///
import errno
import json
import os
import sys

canary = json.loads(sys.argv[1])
if canary["outside"]:
    # A stand-in on the host: its own interpreter must not be touched.
    open("stand-in", "w").close()
target = "stand-in" if canary["outside"] else os.__file__
for name, action in {"link": lambda: os.link(target, "mine"), "write": lambda: os.close(os.open("mine", os.O_WRONLY))}.items():
    try:
        action()
        print(name, "reached")
    except OSError as error:
        print(name, "blocked", errno.errorcode[error.errno])
