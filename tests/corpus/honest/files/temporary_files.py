# /// honest
# shows = "temporary files and folders, renames, links, times and permissions"
# stdout = "b'data' True 0o640 1000000000 ['linked', 'moved']"
# ///
import os
import pathlib
import tempfile

with tempfile.NamedTemporaryFile() as named, tempfile.TemporaryDirectory() as folder:
    named.write(b"data")
    named.flush()
    content = pathlib.Path(named.name).read_bytes()
    path = pathlib.Path(folder, "file")
    path.write_text("text")
    path.chmod(0o640)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    path = path.rename(path.with_name("moved"))
    path.with_name("linked").symlink_to("moved")
    status = path.with_name("linked").stat()
    names = sorted(entry.name for entry in os.scandir(folder))
    print(content, path.exists(), oct(status.st_mode & 0o777), int(status.st_mtime), names)
