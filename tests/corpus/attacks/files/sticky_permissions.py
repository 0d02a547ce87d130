# /// attack
# tries = "use a set-user-id program or a device file from the writable folders"
# requirement = "F1"
# layer = "nosuid and nodev mounts"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked"
# ///
import json
import os
import sys

folders = ["/"] if json.loads(sys.argv[1])["outside"] else ["/work", "/tmp", "/dev/shm", "/", "/usr"]
wanted = os.ST_NOSUID | os.ST_NODEV
missing = [folder for folder in folders if os.statvfs(folder).f_flag & wanted != wanted]
print("reached" if missing else "blocked")
print(*missing, file=sys.stderr)
