# /// attack
# tries = "open the kernel's crypto sockets (AF_ALG), which once wrote into the page cache of read-only files"
# requirement = "N1"
# layer = "seccomp"
# [control]
# stdout = "reached"
# absent = "blocked EAFNOSUPPORT"
# [inside]
# stdout = "blocked EPERM"
# ///
import errno
import socket

try:
    socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).close()
    print("reached")
except OSError as error:
    print("blocked", errno.errorcode[error.errno])
