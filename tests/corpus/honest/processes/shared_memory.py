# /// honest
# shows = "named shared memory between processes, as a numpy array"
# stdout = "[0. 2. 4.]"
# stderr = ""
# ///
from multiprocessing import Process, shared_memory

import numpy as np


def double(name):
    memory = shared_memory.SharedMemory(name)
    np.ndarray((3,), buffer=memory.buf)[:] *= 2
    memory.close()


if __name__ == "__main__":
    memory = shared_memory.SharedMemory(create=True, size=24)
    array = np.ndarray((3,), buffer=memory.buf)
    array[:] = [0, 1, 2]
    child = Process(target=double, args=(memory.name,))
    child.start()
    child.join()
    print(array)
    del array
    memory.close()
    memory.unlink()
