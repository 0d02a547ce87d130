# /// attack
# tries = "use a descriptor that the service had open, beside stdin, stdout, stderr and the result pipe"
# requirement = "P2"
# layer = "close_range"
# [control]
# stdout = "reached {file_secret}"
# [inside]
# stdout = "blocked: []"
# ///
import os

still_open = []
for descriptor in range(4, 4096):
    try:
        os.fstat(descriptor)
        still_open.append(descriptor)
    except OSError:
        pass
if still_open:
    try:
        print("reached", os.pread(still_open[0], 200, 0).decode())
    except OSError as error:
        print("reached", still_open, error)
else:
    print("blocked: []")
