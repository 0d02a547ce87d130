# /// attack
# tries = "blame the sandbox: raise EPERM, ENOSPC and MemoryError of its own making"
# requirement = "I2"
# layer = "verdict from the kernel's counters"
# [control]
# exit = 1
# stdout = ""
# [inside]
# reason = "Exception"
# exit = 1
# stdout = ""
# error = "ExceptionGroup"
# ///
raise ExceptionGroup("mine", [PermissionError(1, "Operation not permitted"), OSError(28, "No space left"), MemoryError()])
