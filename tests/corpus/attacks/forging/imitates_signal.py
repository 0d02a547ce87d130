# /// attack
# tries = "look as if a signal or a timeout had ended it, by its exit code"
# requirement = "I1"
# layer = "exit status from the kernel"
# [control]
# exit = 137
# [inside]
# reason = "Exited"
# exit = 137
# ///
import sys

sys.exit(137)
