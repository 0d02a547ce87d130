# /// attack
# tries = "reach a cloud's metadata service and other addresses beyond the host"
# requirement = "N1"
# layer = "network namespace"
# [control]
# stdout = "169.254.169.254 reached\n192.0.2.1 reached\n8.8.8.8 reached"
# [inside]
# stdout = "169.254.169.254 blocked ENETUNREACH\n192.0.2.1 blocked ENETUNREACH\n8.8.8.8 blocked ENETUNREACH"
# ///
import ctypes
import errno
import fcntl
import json
import socket
import struct
import sys

ADDRESSES = ("169.254.169.254", "192.0.2.1", "8.8.8.8")
if json.loads(sys.argv[1])["outside"]:
    # Somebody who answers, whatever the host's network is: the same addresses in a network namespace of its own.
    assert ctypes.CDLL(None).unshare(0x40000000) == 0  # CLONE_NEWNET
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(control, 0x8914, struct.pack("16sH22x", b"lo", 0x41))  # SIOCSIFFLAGS: up
    for number, address in enumerate(ADDRESSES):
        request = struct.pack("16sHH4s16x", b"lo:%d" % number, socket.AF_INET, 0, socket.inet_aton(address))
        fcntl.ioctl(control, 0x8916, request)  # SIOCSIFADDR
    listener = socket.create_server(("0.0.0.0", 80))
for address in ADDRESSES:
    try:
        socket.create_connection((address, 80), timeout=5).close()
        print(address, "reached")
    except OSError as error:
        print(address, "blocked", errno.errorcode.get(error.errno, error))
