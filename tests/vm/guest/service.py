"""The systemd unit of packaging/, installed as an administrator would, and used over HTTP."""

import http.client
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time

from cases import Skipped, check, expected_weaker, main

PACKAGING = pathlib.Path("/payload/packaging")
UNIT = "aevatar-sandbox.service"
NAME = "aevatar-sandbox"
CGROUP = pathlib.Path("/sys/fs/cgroup/system.slice") / UNIT
STATE = pathlib.Path("/var/lib/aevatar-sandbox")
SLOWNESS = int(os.environ["SANDBOX_TEST_SLOWNESS"])
PATIENCE = 15 * SLOWNESS
# Of a program; the service allows no more.
TIMEOUT = min(10 * SLOWNESS, 300)


def systemctl(*arguments):
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True)
    check(done.returncode == 0, f"systemctl {arguments}: {done.stderr}{journal()}")
    return done.stdout


def journal():
    command = ["journalctl", "--unit", UNIT, "--no-pager", "--lines=30", "--output=cat"]
    return subprocess.run(command, capture_output=True, text=True).stdout


def shown(name):
    return systemctl("show", "--property", name, "--value", UNIT).strip()


def eventually(what, look):
    ended = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found:
            return found
        check(time.monotonic() < ended, f"not within {PATIENCE} s: {what}\n{journal()}")
        time.sleep(0.1)


def ask(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=40 * SLOWNESS)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def execute(code, **more):
    status, result = ask("POST", "/api/python/execute", {"code": code, "timeout": TIMEOUT, **more})
    check(status == 200, f"{status}: {result}\n{journal()}")
    return result


def ready():
    try:
        return ask("GET", "/readyz")[0] == 200
    except OSError:
        return False


def processes():
    """Pids of the service's user."""
    uid = pwd.getpwnam(NAME).pw_uid
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def sandbox_cgroups():
    return [path for path in CGROUP.glob("**/aevatar-sandbox-*-*") if path.is_dir()]


def prepare():
    """Installs the unit, its user and its configuration; once, whichever case comes first."""
    if pathlib.Path("/usr/lib/systemd/system", UNIT).exists():
        return
    shutil.copy(PACKAGING / "systemd" / UNIT, "/usr/lib/systemd/system")
    shutil.copy(PACKAGING / "sysusers.d/aevatar-sandbox.conf", "/usr/lib/sysusers.d")
    shutil.copy(f"{os.environ['SANDBOX_TEST_ROOT']}/aevatar-sandbox", "/usr/bin")
    pathlib.Path("/etc/aevatar-sandbox").mkdir()
    shutil.copy(PACKAGING / "appsettings.json", "/etc/aevatar-sandbox")
    subprocess.run(["systemd-sysusers"], check=True)
    systemctl("daemon-reload")
    # The guest has no package index: the service finds its environment prepared.
    STATE.mkdir(mode=0o750)
    for name in ("environments", "interpreters.json"):
        (STATE / name).symlink_to(f"{os.environ['AEVATAR_SANDBOX_CACHE']}/{name}")
    shutil.chown(STATE, NAME, NAME)


def running():
    prepare()
    if shown("ActiveState") != "active":
        systemctl("start", UNIT)
    eventually("/readyz", ready)


def starts_and_is_ready():
    prepare()
    verified = subprocess.run(["systemd-analyze", "verify", UNIT], capture_output=True, text=True)
    # systemd before 254 does not know DelegateSubgroup=, and says so.
    complaints = [line for line in verified.stderr.splitlines() if UNIT in line and "DelegateSubgroup" not in line]
    check(not complaints, complaints)
    running()
    check(ask("GET", "/healthz")[0] == 200, "/healthz")
    exposure = subprocess.run(["systemd-analyze", "security", "--no-pager", UNIT], capture_output=True, text=True)
    print("  " + exposure.stdout.strip().splitlines()[-1], flush=True)


def runs_as_its_own_user():
    running()
    pid = int(shown("MainPID"))
    check(os.stat(f"/proc/{pid}").st_uid == pwd.getpwnam(NAME).pw_uid, "it has another uid")
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    for expected in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        check(expected in status, status)
    result = execute("print(6 * 7)")
    states = {layer["name"]: layer["state"] for layer in result["isolation"]["layers"]}
    weaker = {name for name, state in states.items() if state.lower() == "weaker"}
    check(weaker == expected_weaker(["uid", "disk"]), states)
    check(not [name for name, state in states.items() if state.lower() == "missing"], states)
    check(result["isolation"]["tier"] == "default", result["isolation"])
    print("  " + ", ".join(f"{name} {state}" for name, state in states.items()), flush=True)


def runs_programs():
    running()
    hello = execute("print('hello')")
    check((hello["status"], hello["stdout"]) == ("Completed", "hello\n"), hello)
    numpy = execute("import numpy; print(int(numpy.arange(10).sum()))")
    check((numpy["status"], numpy["stdout"]) == ("Completed", "45\n"), numpy)


def limits_hold():
    running()
    hog = execute("x = bytearray(200 << 20)", resources={"memoryLimit": "64Mi"})
    check(hog["termination"]["reason"] == "OutOfMemory", hog)
    slow = execute("import time; time.sleep(600)", timeout=2)
    check(slow["termination"]["reason"] == "WallTimeLimit", slow)
    busy = execute("while True: pass", resources={"cpuTime": 2})
    check(busy["termination"]["reason"] == "CpuTimeLimit", busy)
    full = execute("open('/work/x', 'wb').write(bytes(20 << 20))", resources={"diskLimit": "16Mi"})
    check(full["error"]["name"] == "OSError" and "No space left" in full["error"]["value"], full)
    check(execute("print('next')")["stdout"] == "next\n", "the next one")
    eventually("the sandboxes' cgroups are gone", lambda: not [
        path for server in sandbox_cgroups() for path in server.iterdir() if path.is_dir() and not is_parked(path)
    ])


def is_parked(cgroup):
    """Whether it is that of a sandbox that waits for a program: all its processes have names of the engine's."""
    try:
        pids = (cgroup / "cgroup.procs").read_text().split()
        return bool(pids) and all(pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("sandbox-") for pid in pids)
    except FileNotFoundError:
        # It has just ended: looked at again.
        return False


def runs_under_its_apparmor_profile():
    """What Ubuntu's restriction of user namespaces asks for; here it restricts nobody, but it is loaded and in force."""
    parser = "/usr/sbin/apparmor_parser"
    version = subprocess.run([parser, "--version"], capture_output=True, text=True).stdout.split()[3]
    if int(version.split(".")[0]) < 4:
        raise Skipped(f"AppArmor {version} has no rules for user namespaces")
    prepare()
    profile = pathlib.Path("/etc/apparmor.d", NAME)
    shutil.copy(PACKAGING / "apparmor" / NAME, profile)
    loaded = subprocess.run([parser, "--replace", profile], capture_output=True, text=True)
    check(loaded.returncode == 0, loaded.stderr)
    if shown("ActiveState") == "active":
        systemctl("stop", UNIT)
    running()
    label = pathlib.Path(f"/proc/{shown('MainPID')}/attr/current").read_text().strip()
    check(label == f"{NAME} (unconfined)", label)
    check(execute("print('hello')")["stdout"] == "hello\n", "hello under the profile")
    print(f"  AppArmor {version}: {label}", flush=True)


def restarts():
    running()
    before = shown("MainPID")
    systemctl("restart", UNIT)
    running()
    check(shown("MainPID") != before, "it was not restarted")
    check(execute("print('again')")["stdout"] == "again\n", "after the restart")
    of_others = [path for path in sandbox_cgroups() if f"-{shown('MainPID')}-" not in path.name]
    check(not of_others, of_others)


def killed_it_is_started_again_and_leaves_nothing():
    running()
    errors = []

    def client():
        try:
            execute("import os, time\nos.fork()\nos.setsid() if os.getpid() > 2 else None\ntime.sleep(600)")
        except (OSError, http.client.HTTPException, AssertionError) as error:
            errors.append(error)

    busy = threading.Thread(target=client, daemon=True)
    busy.start()
    eventually("its sandbox", lambda: [
        path for server in sandbox_cgroups() for path in server.iterdir() if path.is_dir()
    ])
    pid, before = int(shown("MainPID")), set(processes())
    os.kill(pid, signal.SIGKILL)
    eventually("the restart", lambda: shown("MainPID") not in ("0", str(pid)))
    eventually("/readyz", ready)
    check(shown("NRestarts") != "0", "systemd counts no restart")
    left = before & set(processes())
    check(not left, f"processes {left}")
    of_others = [path for path in sandbox_cgroups() if f"-{shown('MainPID')}-" not in path.name]
    check(not of_others, of_others)
    check(execute("print('after')")["stdout"] == "after\n", "the next one")
    busy.join(PATIENCE)
    check(errors, "the client of the dead service got an answer")


def stops_and_leaves_nothing():
    running()
    answers = []
    busy = threading.Thread(target=lambda: answers.append(execute("import time; time.sleep(600)")), daemon=True)
    busy.start()
    eventually("its sandbox", lambda: [
        path for server in sandbox_cgroups() for path in server.iterdir() if path.is_dir()
    ])
    systemctl("stop", UNIT)
    busy.join(PATIENCE)
    check(answers and answers[0]["termination"]["reason"] == "Interrupted", answers)
    check(shown("Result") == "success" and shown("ExecMainStatus") == "0", journal())
    check(not processes(), f"processes {processes()}")
    check(not CGROUP.exists(), f"{CGROUP} is still there")
    loops = [path.name for path in pathlib.Path("/sys/block").glob("loop*") if (path / "loop").exists()]
    check(not loops, loops)
    left = sorted(path.name for path in STATE.iterdir())
    check(set(left) <= {"environments", "interpreters.json", "locks", "disks", "guest", "records"}, left)


CASES = [
    starts_and_is_ready,
    runs_as_its_own_user,
    runs_programs,
    limits_hold,
    runs_under_its_apparmor_profile,
    restarts,
    killed_it_is_started_again_and_leaves_nothing,
    stops_and_leaves_nothing,
]

if __name__ == "__main__":
    sys.exit(main([(f"service::{case.__name__}", case) for case in CASES]))
