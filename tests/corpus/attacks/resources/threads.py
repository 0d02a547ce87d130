# /// attack
# tries = "start more threads than its limit"
# requirement = "S2"
# layer = "pids cgroup"
# limits = ["--processes=32"]
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked: can't start new thread"
# ///
import threading

end = threading.Event()
threads = []
try:
    for _ in range(48):
        threads.append(threading.Thread(target=end.wait))
        threads[-1].start()
    print("reached")
except RuntimeError as error:
    threads.pop()
    print("blocked:", error)
end.set()
for thread in threads:
    thread.join()
