# /// attack
# tries = "connect to an abstract Unix socket of the host"
# requirement = "N1"
# layer = "network namespace"
# [control]
# stdout = "reached {abstract_secret}"
# [inside]
# stdout = "blocked ECONNREFUSED"
# ///
import errno
import json
import socket
import sys

canary = json.loads(sys.argv[1])
try:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + canary["abstract_socket"])
        print("reached", client.recv(100).decode())
except OSError as error:
    print("blocked", errno.errorcode[error.errno])
