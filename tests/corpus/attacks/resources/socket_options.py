# /// attack
# tries = "have the kernel keep memory for options of its sockets: filters, keys, multicast groups, flow labels"
# requirement = "S1"
# layer = "seccomp"
# [control]
# stdout = "filter reached\nfilter of a group reached\nkey of TCP reached\nmulticast reached\nflow label reached"
# [inside]
# stdout = """
# filter ENOPROTOOPT
# filter of a group ENOPROTOOPT
# key of TCP ENOPROTOOPT
# multicast ENOPROTOOPT
# flow label ENOPROTOOPT"""
# ///
import ctypes
import errno
import json
import platform
import socket
import struct
import sys

SETSOCKOPT = {"x86_64": 54, "aarch64": 208}[platform.machine()]
UPPER = 1 << 32  # the kernel looks at the lower half of level and name only
libc = ctypes.CDLL(None, use_errno=True)
instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0xFFFF))  # accept everything
program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(instruction))
# An address, a flag, a prefix's length, the key's length, an interface, the key: with none, there is nothing to remove.
key = struct.pack("=HH4s120xBBHi80s", socket.AF_INET, 0, socket.inet_aton("127.0.0.1"), 0, 0, 0, 0, b"")
label = struct.pack("=16sIBBHHH4x", socket.inet_pton(socket.AF_INET6, "::1"), 0, 1, 1, 1, 6, 0)
group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
OPTIONS = {
    "filter": (socket.AF_UNIX, socket.SOCK_DGRAM, 1, 26, program),
    "filter of a group": (socket.AF_INET, socket.SOCK_DGRAM, 1, 51, program),
    "key of TCP": (socket.AF_INET, socket.SOCK_STREAM, 6, 14, key),
    "multicast": (socket.AF_INET, socket.SOCK_DGRAM, 0, 35, group),
    "flow label": (socket.AF_INET6, socket.SOCK_DGRAM, 41, 32, label),
}
for name, (family, kind, level, option, value) in OPTIONS.items():
    outcomes = set()
    for upper in (0, UPPER):
        with socket.socket(family, kind) as attacker:
            if option == 51:
                attacker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            arguments = (attacker.fileno(), level | upper, option | upper)
            buffer = ctypes.create_string_buffer(value, len(value))
            result = libc.syscall(SETSOCKOPT, *map(ctypes.c_long, arguments), buffer, ctypes.c_long(len(value)))
            code = errno.errorcode[ctypes.get_errno()] if result < 0 else "reached"
            # The kernel's own words for a key that is not there, for no such interface, and for an old label.
            outcomes.add("reached" if json.loads(sys.argv[1])["outside"] and code != "ENOPROTOOPT" else code)
    print(name, *sorted(outcomes))
