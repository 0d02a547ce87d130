# /// honest
# shows = "scipy: optimisation, integration, statistics, sparse matrices"
# stdout = "[1. 1.] 2.0 True 3"
# ///
import numpy as np
from scipy import integrate, optimize, sparse, stats

best = optimize.minimize(optimize.rosen, [0.0, 0.0], method="BFGS").x
area, _ = integrate.quad(np.sin, 0, np.pi)
print(best.round(3), round(area, 6), bool(stats.norm.cdf(0) == 0.5), sparse.eye_array(3).nnz)
