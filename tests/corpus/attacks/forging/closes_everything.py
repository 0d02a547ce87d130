# /// attack
# tries = "leave without a word: close every descriptor and end with success"
# requirement = "I1"
# layer = "exit status from the kernel"
# [control]
# exit = 9
# stdout = ""
# [inside]
# exit = 9
# stdout = ""
# ///
import os

os.closerange(0, 4096)
os._exit(9)
