# /// honest
# shows = "5 MB of output: flagged as truncated, with head and tail kept"
# stdout_contains = ["first line\n", "\nlast line"]
# truncated = ["stdout"]
# ///
print("first line")
for _ in range(100):
    print("x" * 50_000)
print("last line")
