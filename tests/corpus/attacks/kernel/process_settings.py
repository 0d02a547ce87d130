# /// attack
# tries = "change what the kernel keeps of a process through files of /proc: its name, its dumps, its timers"
# requirement = "F2"
# layer = "landlock"
# needs_layer = "landlock"
# [control]
# stdout = "comm reached\ncoredump_filter reached\ntimerslack_ns reached"
# [inside]
# stdout = "comm blocked EACCES\ncoredump_filter blocked EACCES\ntimerslack_ns blocked EACCES"
# ///
import errno
import os

for name in ("comm", "coredump_filter", "timerslack_ns"):
    try:
        os.close(os.open(f"/proc/self/{name}", os.O_WRONLY))  # opened, never written
        print(name, "reached")
    except OSError as error:
        print(name, "blocked", errno.errorcode[error.errno])
