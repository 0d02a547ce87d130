# /// honest
# shows = "the number of processors is sane, and the affinity can be read and set"
# stdout = "True True True"
# ///
import os

usable = os.sched_getaffinity(0)
os.sched_setaffinity(0, {min(usable)})
print(os.cpu_count() >= 1, 1 <= len(usable) <= os.cpu_count(), len(os.sched_getaffinity(0)) == 1)
