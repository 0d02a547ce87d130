# /// attack
# tries = "ask a service on the host's loopback by UDP"
# requirement = "N1"
# layer = "network namespace"
# [control]
# stdout = "reached {udp_secret}"
# [inside]
# stdout = "blocked ECONNREFUSED"
# ///
import errno
import json
import socket
import sys

canary = json.loads(sys.argv[1])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    client.connect(("127.0.0.1", canary["udp_port"]))
    try:
        client.send(b"?")
        print("reached", client.recv(100).decode())
    except OSError as error:
        print("blocked", errno.errorcode[error.errno])
