"""Runs a command on a host of its own making, as far as the network goes: network.py COMMAND …

In a new network namespace, with nothing but a loopback that answers at the addresses that attacks try to reach beyond
the host. A sandbox without its network namespace is in this one: what it reaches is here, and there is no way out.
"""

import fcntl
import os
import socket
import struct
import sys

SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP_RUNNING = 0x8914, 0x8916, 0x41
BEYOND = ("169.254.169.254", "192.0.2.1", "8.8.8.8")

if [name for _, name in socket.if_nameindex()] != ["lo"]:
    sys.exit("this network has more than a loopback: start this with `unshare --net`")
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP_RUNNING))
for number, address in enumerate(BEYOND):
    request = struct.pack("16sHH4s16x", b"lo:%d" % number, socket.AF_INET, 0, socket.inet_aton(address))
    fcntl.ioctl(control, SIOCSIFADDR, request)
# The kernel completes connections by itself, up to this many.
listener = socket.create_server(("0.0.0.0", 80), backlog=1024)
listener.set_inheritable(True)
os.execvp(sys.argv[1], sys.argv[1:])
