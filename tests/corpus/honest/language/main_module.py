# /// honest
# shows = "the program is __main__, in sys.modules too, with nothing of the sandbox in its globals"
# stdout = "__main__ True ['__annotations__', '__builtins__', '__cached__', '__doc__', '__file__', '__loader__', '__name__', '__package__', '__spec__']"
# ///
names = sorted(set(globals()) | {"__annotations__", "__cached__"})
import sys

print(__name__, sys.modules["__main__"].__dict__ is globals(), names)
