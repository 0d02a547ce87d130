# /// attack
# tries = "see any process beside itself"
# requirement = "P3"
# layer = "pid namespace, private /proc"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked: []"
# ///
import json
import os
import sys

canary = json.loads(sys.argv[1])
others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
print("reached" if canary["victim"] in others else f"blocked: {others}")
