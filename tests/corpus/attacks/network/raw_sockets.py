# /// attack
# tries = "open raw and packet sockets, also by the old SOCK_PACKET and with garbage in the upper half of arguments"
# requirement = "N1"
# layer = "seccomp"
# [control]
# stdout = "raw reached\npacket reached\nSOCK_PACKET reached\nfamily with upper bits reached\ntype with upper bits reached"
# [inside]
# stdout = "raw EPERM\npacket EPERM\nSOCK_PACKET EPERM\nfamily with upper bits EPERM\ntype with upper bits EPERM"
# ///
import ctypes
import errno
import platform
import socket

SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
AF_INET, AF_PACKET, SOCK_RAW, SOCK_PACKET, UPPER = 2, 17, 3, 10, 1 << 32
libc = ctypes.CDLL(None, use_errno=True)
calls = {
    "raw": (AF_INET, SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 1),
    "packet": (AF_PACKET, SOCK_RAW, 0),
    "SOCK_PACKET": (AF_INET, SOCK_PACKET, 0),
    "family with upper bits": (AF_PACKET | UPPER, SOCK_RAW, 0),
    "type with upper bits": (AF_INET, SOCK_RAW | UPPER, 1),
}
for name, arguments in calls.items():
    result = libc.syscall(SOCKET, *map(ctypes.c_ulong, arguments))
    print(name, "reached" if result >= 0 else errno.errorcode[ctypes.get_errno()])
