# /// attack
# tries = "lay a filter that permits everything over the one that is there, and clear no_new_privs"
# requirement = "P5"
# layer = "seccomp"
# [control]
# stdout = "no_new_privs EINVAL\nunshare reached"
# [inside]
# stdout = "no_new_privs EINVAL\nunshare EPERM"
# ///
import ctypes
import errno
import struct

PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS, CLONE_NEWUTS = 22, 2, 38, 0x04000000
libc = ctypes.CDLL(None, use_errno=True)


def outcome(result):
    return "reached" if result >= 0 else errno.errorcode[ctypes.get_errno()]


permit_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))
program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(permit_all))
libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program)
print("no_new_privs", outcome(libc.prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)))
print("unshare", outcome(libc.unshare(CLONE_NEWUTS)))
