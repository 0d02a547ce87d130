# /// honest
# shows = "multiprocessing.Pool by forkserver: Unix sockets that pass descriptors"
# stdout = "[0, 1, 4, 9]"
# ///
import multiprocessing


def square(number):
    return number * number


if __name__ == "__main__":
    with multiprocessing.get_context("forkserver").Pool(2) as pool:
        print(pool.map(square, range(4)))
