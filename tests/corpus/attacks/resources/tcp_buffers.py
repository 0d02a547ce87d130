# /// attack
# tries = "keep far more than its memory limit in TCP buffers"
# requirement = "S1"
# layer = "memory cgroup"
# limits = ["--memory=64Mi", "--timeout=20"]
# [control]
# stdout = "reached"
# [[inside]]
# stdout = "blocked" # cgroup v1: a small account of their own
# [[inside]]
# reason = "OutOfMemory" # cgroup v2: they are memory like any other
# exit = 137
# stdout = ""
# ///
import json
import socket
import sys

# Outside a little is enough to see that nothing limits it.
enough = (4 << 20) if json.loads(sys.argv[1])["outside"] else (96 << 20)
listener = socket.create_server(("127.0.0.1", 0))
held, buffered = [], 0
while buffered < enough and len(held) < 400:
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    held += [client, server]
    client.setblocking(False)
    try:
        while buffered < enough:
            buffered += client.send(b"x" * 65536)
    except BlockingIOError:
        pass
print("reached" if buffered >= enough else "blocked")
