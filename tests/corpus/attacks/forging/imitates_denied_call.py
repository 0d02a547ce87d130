# /// attack
# tries = "raise EPERM of its own making: nothing was denied, so the verdict is an exception like any other"
# requirement = "I2"
# layer = "verdict from the filter's notifications"
# [control]
# exit = 1
# stdout = ""
# [inside]
# reason = "Exception"
# exit = 1
# stdout = ""
# error = "PermissionError"
# errno = 1
# denied = []
# ///
raise PermissionError(1, "Operation not permitted")
