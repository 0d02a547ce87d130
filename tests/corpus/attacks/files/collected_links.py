# /// attack
# tries = "have a file of the host taken along with its own: by links in the places of a file, of a folder and of itself"
# requirement = "F5"
# layer = "collection"
# [control]
# stdout = "file reached {file_secret}\nfolder reached {file_secret}\nprogram reached {file_secret}"
# [inside]
# stdout = "file blocked ENOENT\nfolder blocked ENOENT\nprogram blocked ENOENT"
# ///
import errno
import json
import os
import sys

secret = json.loads(sys.argv[1])["secret_file"]
folder, name = os.path.split(secret)
os.makedirs("results", exist_ok=True)
os.symlink(secret, "results/table.csv")
os.symlink(folder, "plots")
# The one file whose content is known before: in its place, too, a link is no file.
program = "main.py"
if os.path.exists(program):
    os.unlink(program)
os.symlink(secret, program)
for what, path in {"file": "results/table.csv", "folder": f"plots/{name}", "program": program}.items():
    # What whoever follows links would take.
    try:
        with open(path) as file:
            print(what, "reached", file.read())
    except OSError as error:
        print(what, "blocked", errno.errorcode[error.errno])
