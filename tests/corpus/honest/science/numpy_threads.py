# /// honest
# shows = "linear algebra on the threads of OpenBLAS"
# stdout = "True (600,) 600"
# ///
import numpy as np

rng = np.random.default_rng(7)
matrix = rng.standard_normal((600, 600))
symmetric = matrix @ matrix.T
values, vectors = np.linalg.eigh(symmetric)
print(np.allclose(vectors @ np.diag(values) @ vectors.T, symmetric), values.shape, np.linalg.matrix_rank(symmetric))
