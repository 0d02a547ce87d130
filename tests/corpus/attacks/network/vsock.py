# /// attack
# tries = "talk to the hypervisor by AF_VSOCK"
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
    socket.socket(40, socket.SOCK_STREAM).close()  # AF_VSOCK
    print("reached")
except OSError as error:
    print("blocked", errno.errorcode[error.errno])
