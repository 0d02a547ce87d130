# /// honest
# shows = "a file mapped into memory, shared and changed in place"
# stdout = "b'HELLO world'"
# ///
import mmap

with open("mapped", "w+b") as file:
    file.write(b"hello world")
    file.flush()
    with mmap.mmap(file.fileno(), 0) as mapping:
        mapping[:5] = mapping[:5].upper()
        mapping.flush()
    file.seek(0)
    print(file.read())
