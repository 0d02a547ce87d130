# /// attack
# tries = "use up the host's inodes with empty files"
# requirement = "F1"
# layer = "inode limit"
# limits = ["--disk=32Mi", "--memory=256Mi"]
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked ENOSPC"
# ///
import errno
import json
import os
import sys

count = 3000 if json.loads(sys.argv[1])["outside"] else 200_000
try:
    for number in range(count):
        if number % 1000 == 0:
            os.mkdir(f"folder-{number}")
        os.close(os.open(f"folder-{number // 1000 * 1000}/{number}", os.O_CREAT | os.O_WRONLY))
    print("reached")
except OSError as error:
    print("blocked", errno.errorcode[error.errno])
