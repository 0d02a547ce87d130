# /// honest
# shows = "threads, locks, queues and thread-local data"
# stdout = "5050 100"
# ///
import queue
import threading

total, lock, done = 0, threading.Lock(), queue.Queue()


def add(number):
    global total
    with lock:
        total += number
    done.put(number)


threads = [threading.Thread(target=add, args=(number,)) for number in range(1, 101)]
for batch in range(0, 100, 20):
    for thread in threads[batch : batch + 20]:
        thread.start()
    for thread in threads[batch : batch + 20]:
        thread.join()
print(total, done.qsize())
