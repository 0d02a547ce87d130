"""What a stock Linux enforces, as its kernel tells it: root, and an ordinary user in a login session.

The binary is started as docs/operations.md says: by root as it is, by the user with
`systemd-run --user --scope --property=Delegate=yes`. Then root looks at it from outside.
"""

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

from cases import check, expected_weaker, main

USER = "tester"
SLOWNESS = int(os.environ["SANDBOX_TEST_SLOWNESS"])
PATIENCE = 10 * SLOWNESS
MEBI = 1 << 20
NAMESPACES = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup")
UNIFIED = pathlib.Path("/sys/fs/cgroup")
# It tells what it sees, and stays until it is told to end.
LOOK = """
import json, os, sys
print(json.dumps({
    "mounts": open("/proc/self/mountinfo").read() if os.path.exists("/proc/self/mountinfo") else "",
    "status": open("/proc/self/status").read(),
    "disk": os.statvfs("/work").f_blocks * os.statvfs("/work").f_frsize,
}), flush=True)
sys.stdin.readline()
"""


def start(user, *arguments, scope=True):
    """Starts the binary; the process that is returned becomes it."""
    binary = f"{os.environ['SANDBOX_TEST_ROOT']}/aevatar-sandbox"
    command = [binary, *arguments]
    if user != "root":
        run = ["systemd-run", "--user", "--scope", "--quiet", "--property=Delegate=yes"] if scope else []
        # TERM only because a login shell wants one.
        command = ["su", "--login", user, "--command", f"exec {shlex.join([*run, *command])}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes)


def run(user, *arguments, scope=True):
    child = start(user, *arguments, scope=scope)
    stdout, stderr = child.communicate(timeout=60 * SLOWNESS)
    return child.returncode, stdout, stderr


def eventually(what, look):
    ended = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found:
            return found
        check(time.monotonic() < ended, f"not within {PATIENCE} s: {what}")
        time.sleep(0.05)


def servers():
    """Pids of every process of ours, by executable."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "exe").split("/")[-1].startswith("aevatar-sandbox"):
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def cgroups():
    """Every cgroup of a sandbox or of a server's."""
    return [path for path in UNIFIED.glob("**/aevatar-sandbox-*-*") if path.is_dir()]


def assert_nothing_left():
    def left():
        loops = [path.name for path in pathlib.Path("/sys/block").glob("loop*") if (path / "loop").exists()]
        return [*servers(), *map(str, cgroups()), *loops]

    ended = time.monotonic() + PATIENCE
    while left():
        check(time.monotonic() < ended, f"left: {left()}")
        time.sleep(0.05)


class Looking:
    """A program that is looked at from outside while it runs."""

    def __init__(self, user, *limits):
        self.child = start(user, "run", "--timeout", "600", *limits, "-c", LOOK)
        line = self.child.stdout.readline()
        check(line.startswith("{"), f"it says {line!r}, {'' if line else self.child.communicate()}")
        self.inside = json.loads(line)
        # The folder of the server holds the one of the sandbox, whose name is the execution's.
        (self.cgroup,) = [path for server in cgroups() for path in server.iterdir() if path.is_dir()]
        pids = [int(pid) for pid in (self.cgroup / "cgroup.procs").read_text().split()]
        self.program = max(pids)

    def end(self):
        self.child.communicate("go\n", timeout=PATIENCE)
        check(self.child.returncode == 0, f"it ended with {self.child.returncode}")
        assert_nothing_left()

    def limit(self, name):
        return (self.cgroup / name).read_text().strip()


def limits(user):
    looking = Looking(user, "--memory", "192Mi", "--cpu", "250m", "--processes", "40")
    expected = {
        "memory.max": str(192 * MEBI),
        "memory.oom.group": "1",
        "memory.swap.max": "0",
        "cpu.max": "25000 100000",
        "cpu.max.burst": "25000",
    }
    got = {name: looking.limit(name) for name in expected if (looking.cgroup / name).exists()}
    expected = {name: value for name, value in expected.items() if name in got}
    check({"memory.max", "memory.oom.group", "cpu.max", "cpu.max.burst"} <= set(got), f"only {got}")
    check(got == expected, f"{got}, and not {expected}")
    # The sandbox's own first process is one more.
    check(looking.limit("pids.max") in ("40", "41"), f"pids.max is {looking.limit('pids.max')}")
    disk = looking.inside["disk"]
    wanted = 96 * MEBI if user != "root" else 1 << 30
    check(0.85 * wanted <= disk <= wanted, f"{disk} bytes of disk, and not {wanted}")
    looking.end()
    code, stdout, stderr = run(user, "run", "--json", "--memory", "192Mi", "-c", "pass")
    check(code == 0, stderr)
    effective = json.loads(stdout)["limits"]["diskLimit"]
    check(effective == ("96Mi" if user != "root" else "1Gi"), f"the result says {effective} of disk")
    print(f"  {user}: {got}, pids.max 40, disk {effective}", flush=True)


def limits_hold(user):
    outcomes = {
        "memory": (["--memory", "64Mi", "-c", "x = bytearray(200 << 20)"], 137, "OutOfMemory"),
        "wall time": (["--timeout", "2", "-c", "import time; time.sleep(600)"], 124, "WallTimeLimit"),
        "CPU time": (["--cpu-time", "2", "-c", "while True: pass"], 124, "CpuTimeLimit"),
        "output": (["--timeout", "600", "-c", "import os\nwhile True: os.write(1, bytes(65536))"], 137, "OutputLimit"),
        "processes": (
            ["--processes", "8", "--timeout", "300", "-c", "import os\nwhile True:\n  if not os.fork(): os.read(0, 1)"],
            1,
            "ProcessLimit",
        ),
        "disk": (
            ["--memory", "128Mi", "--disk", "16Mi", "-c", "open('/work/x', 'wb').write(bytes(20 << 20))"],
            1,
            "DiskLimit",
        ),
    }
    if user == "root":
        # Half a minute under emulation, and nothing of it depends on the user.
        del outcomes["output"]
    for name, (arguments, code, reason) in outcomes.items():
        got, stdout, stderr = run(user, "run", "--json", *arguments)
        result = json.loads(stdout) if stdout else stderr
        check(got == code and result["termination"]["reason"] == reason, f"{name}: {got}, {result}"[:3000])
        print(f"  {user}: {name}: {result['termination']['message']}", flush=True)
    assert_nothing_left()


def namespaces(user):
    looking = Looking(user)
    for name in NAMESPACES:
        host = os.readlink(f"/proc/1/ns/{name}")
        inside = os.readlink(f"/proc/{looking.program}/ns/{name}")
        check(host != inside, f"the {name} namespace is the host's")
    root = os.stat(f"/proc/{looking.program}/root")
    check((root.st_dev, root.st_ino) != (os.stat("/").st_dev, os.stat("/").st_ino), "the root is the host's")
    looking.end()


def locks(user):
    looking = Looking(user)
    status = dict(line.split(":\t", 1) for line in looking.inside["status"].splitlines() if ":\t" in line)
    expected = {"NoNewPrivs": "1", "Seccomp": "2", **{f"Cap{kind}": "0" * 16 for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}}
    got = {name: status[name] for name in expected}
    check(got == expected, f"{got}, and not {expected}")
    looking.end()


def landlock(user):
    """What nothing but Landlock refuses: a program's own files of /proc, for writing."""
    attempt = "open('/proc/self/comm', 'w').close(); print('opened')"
    outside = ["python3", "-c", attempt]
    outside = outside if user == "root" else ["su", "--login", user, "--command", shlex.join(outside)]
    control = subprocess.run(outside, capture_output=True, text=True)
    check(control.stdout == "opened\n", f"outside: {control}")
    code, stdout, stderr = run(user, "run", "--json", "-c", attempt)
    result = json.loads(stdout) if stdout else stderr
    check(code == 1 and result["error"]["name"] == "PermissionError" and result["error"]["errno"] == 13, result)


def doctor(user):
    code, stdout, stderr = run(user, "doctor")
    print("".join(f"  {user}: {line}\n" for line in stdout.splitlines()), end="", flush=True)
    check(code == 0, f"{code}: {stdout}{stderr}")
    check("The default tier holds on this host." in stdout and "MISSING" not in stdout, stdout)
    weaker = set(re.findall(r"^weaker +(\w+)", stdout, re.MULTILINE))
    check(weaker == expected_weaker([] if user == "root" else ["uid", "disk"]), f"weaker: {weaker}")
    check(re.search(r"^ok +landlock +ABI [1-9]", stdout, re.MULTILINE), stdout)
    assert_nothing_left()


def killed(user):
    """SIGKILL of the server: nothing is left."""
    looking = Looking(user)
    program = looking.program
    server = next(pid for pid in servers() if b"run\0" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(server, signal.SIGKILL)
    eventually("the end of the program", lambda: not pathlib.Path(f"/proc/{program}").exists())
    looking.child.communicate(timeout=PATIENCE)
    assert_nothing_left()
    code, stdout, stderr = run(user, "run", "-c", "print('next')")
    check((code, stdout) == (0, "next\n"), f"{code} {stdout} {stderr}")


def without_delegation():
    """In the session itself, where nothing is delegated, the default tier refuses and says what to do."""
    code, stdout, stderr = run(USER, "run", "-c", "print('ran')", scope=False)
    check(code == 125 and stdout == "", f"{code} {stdout} {stderr}")
    check("memoryCgroup" in stderr and "systemd-run --user --scope -p Delegate=yes" in stderr, stderr)
    print(f"  {stderr.splitlines()[0]}", flush=True)


def without_user_namespaces():
    """Where an administrator has switched them off, the refusal names the switch."""
    switch = pathlib.Path("/proc/sys/user/max_user_namespaces")
    before = switch.read_text()
    switch.write_text("0")
    try:
        code, stdout, stderr = run(USER, "run", "-c", "print('ran')")
    finally:
        switch.write_text(before)
    check(code == 125 and stdout == "", f"{code} {stdout} {stderr}")
    check("user.max_user_namespaces" in stderr, stderr)
    print(f"  {stderr.splitlines()[0]}", flush=True)


SHOWN = {
    "doctor_is_green": doctor,
    "limits_are_the_kernels": limits,
    "limits_hold": limits_hold,
    "namespaces_are_its_own": namespaces,
    "capabilities_and_filter": locks,
    "landlock_is_enforced": landlock,
    "nothing_survives_sigkill_of_the_server": killed,
}

if __name__ == "__main__":
    cases = [
        (f"stock::{user}::{name}", lambda case=case, user=user: case(user))
        for user in ("root", USER)
        for name, case in SHOWN.items()
    ]
    cases.append((f"stock::{USER}::without_delegation_it_refuses", without_delegation))
    cases.append((f"stock::{USER}::without_user_namespaces_it_refuses", without_user_namespaces))
    sys.exit(main(cases))
