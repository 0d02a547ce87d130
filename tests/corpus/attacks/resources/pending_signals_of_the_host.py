# /// attack
# tries = "queue signals until nobody of the service's user can make a timer any more"
# requirement = "S6"
# layer = "rlimit"
# [control]
# stdout = "1000 signals queued"
# [inside]
# stdout = "limited EAGAIN"
# ///
import ctypes
import errno
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
for count in range(1000):
    if libc.sigqueue(os.getpid(), signal.SIGRTMIN, 0) < 0:
        print("limited", errno.errorcode[ctypes.get_errno()])
        break
else:
    print("1000 signals queued")
