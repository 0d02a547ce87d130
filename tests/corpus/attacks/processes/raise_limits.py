# /// attack
# tries = "raise its own resource limits"
# requirement = "P1"
# layer = "resource limits"
# [control]
# stdout = "core reached\nfiles reached"
# [inside]
# stdout = "core blocked\nfiles blocked"
# ///
import resource

for name, limit, value in (("core", resource.RLIMIT_CORE, 1 << 20), ("files", resource.RLIMIT_NOFILE, 8192)):
    try:
        resource.setrlimit(limit, (value, value))
        print(name, "reached" if resource.getrlimit(limit) == (value, value) else "ignored")
    except ValueError:  # what Python makes of EPERM here
        print(name, "blocked")
