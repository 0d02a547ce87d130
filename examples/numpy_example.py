import numpy as np

arr = np.array([1, 2, 3, 4, 5])
print("Mean:", arr.mean())
print("Standard deviation:", arr.std())
