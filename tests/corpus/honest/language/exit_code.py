# /// honest
# shows = "sys.exit with a number"
# exit = 3
# stdout = "before"
# ///
import sys

print("before")
sys.exit(3)
