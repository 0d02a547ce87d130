# /// attack
# tries = "keep far more than its memory limit on TCP connections that nobody accepts: they belong to no cgroup"
# requirement = "S1"
# layer = "small buffers and queues of the network namespace"
# needs_layer = "network"
# limits = ["--memory=64Mi", "--timeout=20"]
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked"
# ///
import socket

ENOUGH = 96 << 20  # on one listener
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(4096)
held = 0
while held < ENOUGH:
    with socket.socket() as client:
        client.settimeout(0.5)
        try:
            client.connect(listener.getsockname())
            held += client.send(b"x" * 65536)  # it stays when the client has gone
        except TimeoutError:
            break
print("reached" if held >= ENOUGH else "blocked")
