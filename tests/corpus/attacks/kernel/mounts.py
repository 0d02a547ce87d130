# /// attack
# tries = "use the mount interfaces, old and new (with arguments that the kernel refuses after it was reached)"
# requirement = "K1"
# layer = "seccomp"
# [control]
# stdout = '''
# EFAULT mount pivot_root chroot
# EINVAL umount2 open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
# '''
# [inside]
# stdout = "EPERM mount pivot_root chroot umount2 open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr"
# ///
import ctypes
import errno
import platform

# name: (number on x86_64, on aarch64, arguments); 1 is a pointer to nowhere, -1 a flag that does not exist
CALLS = {
    "mount": (165, 40, (1, 1, 1, 0, 0)),
    "pivot_root": (155, 41, (1, 1)),
    "chroot": (161, 51, (1,)),
    "umount2": (166, 39, (1, -1)),
    "open_tree": (428, 428, (-1, 1, -1)),
    "move_mount": (429, 429, (-1, 1, -1, 1, -1)),
    "fsopen": (430, 430, (1, -1)),
    "fsconfig": (431, 431, (-1, 99, 0, 0, 0)),
    "fsmount": (432, 432, (-1, -1, -1)),
    "fspick": (433, 433, (-1, 1, -1)),
    "mount_setattr": (442, 442, (-1, 1, -1, 1, 64)),
}
libc = ctypes.CDLL(None, use_errno=True)
outcomes = {}
for name, (x86_64, aarch64, arguments) in CALLS.items():
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    outcomes.setdefault("reached" if result >= 0 else errno.errorcode[ctypes.get_errno()], []).append(name)
for outcome, names in outcomes.items():
    print(outcome, *names)
