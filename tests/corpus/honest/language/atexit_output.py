# /// honest
# shows = "exit handlers and finalisers run, and what they print arrives"
# stdout = "main\nhandler\nfinaliser"
# ///
import atexit
import weakref


class Thing:
    pass


thing = Thing()
weakref.finalize(thing, print, "finaliser")
atexit.register(print, "handler")
print("main")
