# /// attack
# tries = "lower its core limit to 0, at which a crash starts the host's crash handler as root"
# requirement = "P1"
# layer = "rlimit and seccomp"
# [control]
# stdout = "reached (0, 0)"
# [inside]
# stdout = "refused (1, 1)"
# ///
import resource

try:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    outcome = "reached"
except (ValueError, OSError):
    outcome = "refused"
print(outcome, resource.getrlimit(resource.RLIMIT_CORE))
