# /// honest
# shows = "a crash in native code is a signal, and the sandbox survives it"
# blocked = "ctypes"
# reason = "Signal"
# exit = 139
# stdout = "before"
# ///
import ctypes

print("before", flush=True)
ctypes.string_at(0)
