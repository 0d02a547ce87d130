"""Takes more and more memory: ends at the memory limit."""

blocks = []
while True:
    blocks.append(bytearray(16 * 1024 * 1024))
    print(len(blocks) * 16, "MiB")
