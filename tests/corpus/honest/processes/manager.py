# /// honest
# shows = "multiprocessing.Manager, queues, locks and semaphores"
# stdout = "{'a': 1, 'b': 2} 3"
# ///
import multiprocessing


def fill(shared, queue, lock):
    with lock:
        shared["b"] = 2
        queue.put(3)


if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        shared, queue, lock = manager.dict({"a": 1}), multiprocessing.Queue(), multiprocessing.Lock()
        child = multiprocessing.Process(target=fill, args=(shared, queue, lock))
        child.start()
        number = queue.get(timeout=20)
        child.join()
        print(dict(shared), number)
