# /// honest
# shows = "joblib's worker processes (loky)"
# stdout = "[0, 1, 4, 9, 16, 25]"
# limits = ["--memory=512Mi"]
# ///
from joblib import Parallel, delayed


def square(number):
    return number * number


print(Parallel(n_jobs=2)(delayed(square)(number) for number in range(6)))
