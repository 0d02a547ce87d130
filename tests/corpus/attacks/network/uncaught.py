# /// attack
# tries = "open a packet socket without catching the error: the verdict must name the refused call"
# requirement = "N1"
# layer = "seccomp"
# [control]
# stdout = "reached"
# [inside]
# reason = "SyscallDenied"
# exit = 1
# stdout = ""
# error = "PermissionError"
# message_contains = "socket"
# denied = ["socket"]
# ///
import socket

socket.socket(17, socket.SOCK_RAW).close()  # AF_PACKET
print("reached")
