# /// honest
# shows = "the number of processors is the CPU share, and the affinity can be read and set"
# limits = ["--cpu=2"]
# stdout = "2 True True"
# ///
import os

usable = os.sched_getaffinity(0)
os.sched_setaffinity(0, {min(usable)})
print(os.cpu_count(), len(usable) >= 1, len(os.sched_getaffinity(0)) == 1)
