# /// attack
# tries = "connect to a service on the host's loopback"
# requirement = "N1"
# layer = "network namespace"
# [control]
# stdout = "reached {tcp_secret}"
# [inside]
# stdout = "blocked ECONNREFUSED"
# ///
import errno
import json
import socket
import sys

canary = json.loads(sys.argv[1])
try:
    with socket.create_connection(("127.0.0.1", canary["tcp_port"]), timeout=5) as client:
        print("reached", client.recv(100).decode())
except OSError as error:
    print("blocked", errno.errorcode[error.errno])
