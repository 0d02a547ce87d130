# /// attack
# tries = "make itself the last victim of the OOM killer, and more urgent than others"
# requirement = "S1"
# layer = "no capabilities"
# [control]
# stdout = "oom_score_adj reached\nnice reached"
# absent = "oom_score_adj blocked EACCES"  # root without CAP_SYS_RESOURCE
# [inside]
# stdout = "oom_score_adj blocked EACCES\nnice blocked EPERM"
# ///
import errno
import os


def oom_score_adj():
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")


for name, attempt in {"oom_score_adj": oom_score_adj, "nice": lambda: os.nice(-5)}.items():
    try:
        attempt()
        print(name, "reached")
    except OSError as error:
        print(name, "blocked", errno.errorcode[error.errno])
