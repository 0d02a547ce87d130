# /// honest
# shows = "output beyond ASCII, characters split over writes, and bytes that are no text"
# stdout = "汉字 🐍 é\nsplit: 汉\nbroken: \uFFFD end"
# ///
import os
import sys
import time

print("汉字 🐍 é", flush=True)
sys.stdout.buffer.write(b"split: ")
sys.stdout.flush()
for byte in "汉".encode():
    os.write(1, bytes([byte]))
    time.sleep(0.05)
os.write(1, b"\nbroken: \xff end\n")
