# /// attack
# tries = "find a device beyond the harmless ones in /dev"
# requirement = "F2"
# layer = "private /dev"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked: []"
# ///
import os

HARMLESS = {"null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr", "shm", "tty", "ptmx", "pts"}
devices = sorted(set(os.listdir("/dev")) - HARMLESS)
print("reached" if "console" in devices or "kmsg" in devices else f"blocked: {devices}")
