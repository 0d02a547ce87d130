# /// honest
# shows = "sys.exit with a text: on stderr, code 1, no traceback"
# exit = 1
# stdout = ""
# stderr = "nothing to do"
# ///
import sys

sys.exit("nothing to do")
