# /// honest
# shows = "own classes pickled, copied and deep-copied"
# stdout = "Point(x=1, y=2) __main__ True"
# ///
import copy
import pickle
from dataclasses import dataclass


@dataclass
class Point:
    x: int
    y: int


point = pickle.loads(pickle.dumps(Point(1, 2)))
print(point, Point.__module__, copy.deepcopy(point) == point)
