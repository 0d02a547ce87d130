# /// honest
# shows = "much on both streams at once, without a deadlock"
# stdout_contains = ["out 0\n", "out 8999"]
# stderr_contains = ["err 0\n", "err 8999"]
# truncated = []
# ///
import sys

for number in range(9000):
    print("out", number)
    print("err", number, file=sys.stderr)
