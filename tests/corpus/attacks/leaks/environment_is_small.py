# /// attack
# tries = "learn of the host from its environment: home, user, path, variables of services"
# requirement = "P4"
# layer = "environment built from nothing"
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked"
# ///
import os

TELLING = {"USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "HOSTNAME", "SUDO_USER", "SSH_CONNECTION", "XDG_RUNTIME_DIR"}
telling = {name for name in os.environ if name in TELLING or name.startswith(("AEVATAR", "CARGO", "RUST", "KUBERNETES"))}
print("reached" if telling or os.environ.get("HOME") != "/tmp" else "blocked")
