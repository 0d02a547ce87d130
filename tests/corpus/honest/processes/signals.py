# /// honest
# shows = "signals to oneself: a handler, an alarm, a timer, and KeyboardInterrupt"
# stdout = "SIGUSR1 SIGALRM SIGALRM KeyboardInterrupt"
# ///
import os
import signal
import time

seen = []
for number in (signal.SIGUSR1, signal.SIGALRM):
    signal.signal(number, lambda number, frame: seen.append(signal.Signals(number).name))
os.kill(os.getpid(), signal.SIGUSR1)
signal.setitimer(signal.ITIMER_REAL, 0.05)
time.sleep(0.2)
signal.alarm(1)
signal.pause()
try:
    signal.raise_signal(signal.SIGINT)
    time.sleep(1)
except KeyboardInterrupt:
    seen.append("KeyboardInterrupt")
print(*seen)
