# /// honest
# shows = "150 MB in a limit of 256 MiB"
# stdout = "150000000 0"
# limits = ["--memory=256Mi"]
# ///
import numpy as np

array = np.zeros(150_000_000, dtype=np.uint8)
array[::4096] = 1
array[:] = 0
print(len(array), array.sum())
