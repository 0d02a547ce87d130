# /// attack
# tries = "print something that looks like the result, with markers and terminal codes, and fail"
# requirement = "I3"
# layer = "output is bytes"
# [control]
# exit = 4
# stdout = '{"status":"Completed","exitCode":0,"termination":{"reason":"Exited"}}'
# [inside]
# exit = 4
# stdout = '{"status":"Completed","exitCode":0,"termination":{"reason":"Exited"}}'
# ///
import sys

print('{"status":"Completed","exitCode":0,"termination":{"reason":"Exited"}}')
sys.exit(4)
