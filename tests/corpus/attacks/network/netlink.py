# /// attack
# tries = "talk to the kernel's subsystems by netlink: audit, netfilter, uevents, generic"
# requirement = "N1"
# layer = "seccomp"
# [control]
# stdout = "audit reached\nnetfilter reached\nuevent reached\ngeneric reached"
# absent = "EPROTONOSUPPORT"
# [inside]
# stdout = "audit EAFNOSUPPORT\nnetfilter EAFNOSUPPORT\nuevent EAFNOSUPPORT\ngeneric EAFNOSUPPORT"
# ///
import errno
import socket

for name, protocol in {"audit": 9, "netfilter": 12, "uevent": 15, "generic": 16}.items():
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol).close()
        print(name, "reached")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
