# /// honest
# shows = "concurrent.futures, both kinds"
# stdout = "[1, 2, 3] [1, 2, 3]"
# ///
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor


def length(text):
    return len(text)


if __name__ == "__main__":
    words = ["a", "bb", "ccc"]
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2) as processes:
        print(list(threads.map(length, words)), list(processes.map(length, words)))
