# /// attack
# tries = "open the kernel's own files: settings for writing, symbols, log and cgroups"
# requirement = "F2"
# layer = "private /proc with subset=pid, no /sys"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked ENOENT"
# ///
import errno
import os

PATHS = {
    "/proc/sys/kernel/core_pattern": os.O_WRONLY,
    "/proc/sys/vm/drop_caches": os.O_WRONLY,
    "/proc/kallsyms": os.O_RDONLY,
    "/proc/kmsg": os.O_RDONLY,
    "/proc/cmdline": os.O_RDONLY,
    "/proc/interrupts": os.O_RDONLY,
    "/sys/kernel": os.O_RDONLY,
    "/sys/fs/cgroup": os.O_RDONLY,
    "/sys/class/net": os.O_RDONLY,
}
outcomes = set()
for path, flags in PATHS.items():
    try:
        os.close(os.open(path, flags))  # opened, never written
        outcomes.add("reached")
    except OSError as error:
        outcomes.add("blocked " + errno.errorcode[error.errno])
print(*sorted(outcomes), sep="\n")
