# /// attack
# tries = "learn the name of the host"
# requirement = "P3"
# layer = "uts namespace"
# [control]
# stdout = "reached reached"
# [inside]
# stdout = "blocked blocked"
# ///
import json
import os
import socket
import sys

host = json.loads(sys.argv[1])["hostname"]
print(*("reached" if name == host else "blocked" for name in (socket.gethostname(), os.uname().nodename)))
