# /// honest
# shows = "an absurd allocation is a MemoryError that the program can handle"
# stdout = "MemoryError"
# ///
try:
    bytearray(1 << 62)
except MemoryError as error:
    print(type(error).__name__)
