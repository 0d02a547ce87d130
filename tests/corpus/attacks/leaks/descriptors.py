# /// attack
# tries = "use a descriptor that the service had open, beside stdin, stdout, stderr and the result pipe"
# requirement = "P2"
# layer = "close_range"
# [control]
# stdout = "reached {file_secret}"
# [inside]
# stdout = "blocked: []"
# ///
import contextlib
import os

still_open = []
for descriptor in range(4, 4096):
    try:
        os.fstat(descriptor)
        still_open.append(descriptor)
    except OSError:
        pass
content = b""
for descriptor in still_open:
    with contextlib.suppress(OSError):  # no file: a pipe, a socket
        content = content or os.pread(descriptor, 200, 0)
print("reached " + content.decode() if content else f"blocked: {still_open}")
