# /// attack
# tries = "connect to a socket of the host in the file tree, as to /var/run/docker.sock"
# requirement = "F3"
# layer = "mount namespace"
# [control]
# stdout = "reached {unix_secret}"
# [inside]
# stdout = "blocked ENOENT"
# ///
import errno
import json
import socket
import sys

canary = json.loads(sys.argv[1])
try:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(canary["unix_socket"])
        print("reached", client.recv(100).decode())
except OSError as error:
    print("blocked", errno.errorcode[error.errno])
