# /// honest
# shows = "thread pools of linear algebra as large as the CPU limit"
# limits = ["--cpu=2"]
# stdout = "2 [2, 2, 2] True"
# ///
import os

import numpy as np
import sklearn.utils
from threadpoolctl import threadpool_info

a = np.random.default_rng(1).random((400, 400))
good = np.allclose(a @ np.linalg.inv(a), np.eye(400), atol=1e-6)
print(os.cpu_count(), [pool["num_threads"] for pool in threadpool_info()], good)
