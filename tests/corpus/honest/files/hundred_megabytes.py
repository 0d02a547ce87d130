# /// honest
# shows = "100 MB on disk, read back and removed, three times"
# stdout = "3 times"
# limits = ["--disk=160Mi", "--memory=512Mi"]
# ///
import os

for _ in range(3):
    with open("data.bin", "wb") as file:
        for _ in range(100):
            file.write(b"d" * 1_000_000)
    assert os.path.getsize("data.bin") == 100_000_000
    with open("data.bin", "rb") as file:
        assert sum(len(chunk) for chunk in iter(lambda: file.read(1 << 20), b"")) == 100_000_000
    os.remove("data.bin")
print("3 times")
