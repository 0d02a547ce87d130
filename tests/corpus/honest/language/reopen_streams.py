# /// honest
# shows = "its streams opened once more, by name"
# stdin = "a line\n"
# stdout = "in: a line\nout\nby number"
# stderr_contains = ["to stderr"]
# ///
print("in:", open("/dev/stdin").read(), end="", flush=True)
with open("/dev/stdout", "w") as stream:
    print("out", file=stream)
with open("/proc/self/fd/1", "w") as stream:
    print("by number", file=stream)
with open("/dev/stderr", "w") as stream:
    print("to stderr", file=stream)
with open("/dev/null", "r+b") as stream:
    stream.write(b"nothing")
