# /// honest
# shows = "gzip, bz2, lzma, zip and tar"
# stdout = "True True True ['a.txt'] ['a.txt']"
# ///
import bz2
import gzip
import lzma
import tarfile
import zipfile
from pathlib import Path

text = b"spam " * 1000
Path("a.txt").write_bytes(text)
with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.write("a.txt")
with tarfile.open("a.tar.gz", "w:gz") as archive:
    archive.add("a.txt")
same = [module.decompress(module.compress(text)) == text for module in (gzip, bz2, lzma)]
with tarfile.open("a.tar.gz") as archive:
    print(*same, zipfile.ZipFile("a.zip").namelist(), archive.getnames())
