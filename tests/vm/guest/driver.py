"""Runs the steps of /payload/plan.json in a guest of `cargo xtask vm-test`.

Each step is a program that knows `--list --format terse` and prints `test NAME ... ok`. What it writes goes into
/payload/results, and line by line to the second serial port for whoever watches. The host reads the results when the
guest has powered off, and judges; nothing is judged here.
"""

import ctypes
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import threading
import time

PAYLOAD = pathlib.Path("/payload")
RESULTS = PAYLOAD / "results"
CACHE = pathlib.Path("/var/cache/python")
USER = "tester"
UID = 1000
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_VERSION = 1

subprocess.run(["stty", "-F", "/dev/ttyS1", "raw", "-echo", "115200"], check=False)
watcher = open("/dev/ttyS1", "wb", buffering=0)
watching = threading.Lock()


def say(text):
    minutes, seconds = divmod(int(time.clock_gettime(time.CLOCK_BOOTTIME)), 60)
    with watching:
        watcher.write(f"{minutes:3}:{seconds:02} {text}\n".encode(errors="replace"))


def facts():
    def read(path):
        try:
            return pathlib.Path(path).read_text().strip()
        except OSError as error:
            return f"({error.strerror})"

    release = dict(line.split("=", 1) for line in read("/etc/os-release").splitlines())
    libc = ctypes.CDLL(None, use_errno=True)
    systemd = subprocess.run(["systemctl", "--version"], capture_output=True, text=True).stdout.split()[1]
    unified = pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists()
    return {
        "system": release["PRETTY_NAME"].strip('"'),
        "kernel": os.uname().release,
        "systemd": systemd,
        "cgroups": "v2" if unified else "v1 or hybrid",
        "controllers": read("/sys/fs/cgroup/cgroup.controllers"),
        "user_controllers": read(f"/sys/fs/cgroup/user.slice/user-{UID}.slice/user@{UID}.service/cgroup.controllers"),
        "landlock": libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION),
        "lsm": read("/sys/kernel/security/lsm"),
        "apparmor_restrict_unprivileged_userns": read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        "python": subprocess.run(["python3", "-V"], capture_output=True, text=True).stdout.split()[1],
        "booted": time.clock_gettime(time.CLOCK_BOOTTIME),
    }


def make_site(name, uid, cache):
    """A folder for the tests of one user, who owns what is linked from it: the kernel protects others' files."""
    site = PAYLOAD / name
    (site / "scratch").mkdir(parents=True)
    for program in ("aevatar-sandbox", "embed"):
        shutil.copy(PAYLOAD / "bin" / program, site / program)
    (site / "corpus").symlink_to(PAYLOAD / "corpus")
    (site / "cache").symlink_to(cache)
    for path in (site, *site.iterdir()):
        os.chown(path, uid, uid, follow_symlinks=False)
    return site


def make_user_cache():
    """The prepared environment, read-only, in a cache of the user's own."""
    cache = pathlib.Path(f"/home/{USER}/.cache/aevatar-sandbox")
    cache.mkdir(parents=True)
    (cache / "environments").symlink_to(CACHE / "environments")
    shutil.copy(CACHE / "interpreters.json", cache)
    for path in (cache.parent, cache, cache / "interpreters.json"):
        os.chown(path, UID, UID)


def command(step, arguments, variables):
    variables = {name: str(value) for name, value in variables.items()}
    if step["user"] == "root":
        return ["env", *(f"{name}={value}" for name, value in variables.items()), *arguments]
    # A login session of the user; from there a service of the user's own service manager with a delegated cgroup.
    run = ["systemd-run", "--user", "--quiet", "--wait", "--pipe", "--collect", "--property=Delegate=yes"]
    run += [f"--setenv={name}={value}" for name, value in variables.items()]
    run += [f"--working-directory={PAYLOAD}/session", "/bin/sh", f"{PAYLOAD}/guest/supervised.sh", *arguments]
    return ["su", "--login", USER, "--command", f"exec {shlex.join(run)}"]


def pump(stream, path, prefix):
    with open(path, "wb") as file:
        for line in stream:
            file.write(line)
            file.flush()
            say(prefix + line.decode(errors="replace").rstrip("\n"))


def run_step(number, step, slowness):
    folder = RESULTS / f"{number:02}"
    folder.mkdir(parents=True)
    site = PAYLOAD / ("root" if step["user"] == "root" else "session")
    cache = CACHE if step["user"] == "root" else f"/home/{USER}/.cache/aevatar-sandbox"
    variables = {
        "SANDBOX_TEST_ROOT": site,
        "SANDBOX_TEST_SLOWNESS": slowness,
        "AEVATAR_SANDBOX_CACHE": cache,
        "PATH": "/usr/bin:/usr/sbin",
        "HOME": "/root" if step["user"] == "root" else f"/home/{USER}",
        "TMPDIR": "/tmp",
    }
    program = [str(PAYLOAD / part) if part.startswith("bin/") or part.endswith(".py") else part for part in step["program"]]
    only = step["only"]
    if only and not step["filters"]:
        variables["SANDBOX_TEST_ONLY"] = "\n".join(only)
    filters = ["--exact", *only] if only and step["filters"] else []
    threads = [f"--test-threads={step['threads']}"]
    started = time.monotonic()
    listed = subprocess.run(
        command(step, [*program, *filters, "--list", "--format", "terse"], variables), capture_output=True, text=True
    )
    (folder / "list").write_text(listed.stdout)
    (folder / "list-errors").write_text(listed.stderr)
    child = subprocess.Popen(
        command(step, [*program, *filters, *threads], variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    pumps = [
        threading.Thread(target=pump, args=(child.stdout, folder / "stdout", f"[{step['name']}] ")),
        threading.Thread(target=pump, args=(child.stderr, folder / "stderr", f"[{step['name']}] ! ")),
    ]
    for thread in pumps:
        thread.start()
    try:
        code = child.wait(step["timeout"])
    except subprocess.TimeoutExpired:
        child.kill()
        code = "still running"
    for thread in pumps:
        thread.join(10)
    ended = {"exit": code, "seconds": round(time.monotonic() - started, 1)}
    (folder / "ended.json").write_text(json.dumps(ended))
    say(f"[{step['name']}] ended: {code} after {ended['seconds']} s")


def main():
    plan = json.loads((PAYLOAD / "plan.json").read_text())
    RESULTS.mkdir()
    known = facts()
    (RESULTS / "facts.json").write_text(json.dumps(known))
    say(f"booted: {known}")
    make_user_cache()
    make_site("root", 0, CACHE)
    make_site("session", UID, f"/home/{USER}/.cache/aevatar-sandbox")
    # What the environment knows of the host's fonts is another file system's: it is looked at anew, by who may write.
    prepare = [PAYLOAD / "root/aevatar-sandbox", "env", "prepare"]
    subprocess.run(prepare, env={**os.environ, "AEVATAR_SANDBOX_CACHE": str(CACHE)}, stdout=subprocess.DEVNULL, check=True)
    for number, step in enumerate(plan["steps"]):
        run_step(number, step, plan["slowness"])
    (RESULTS / "complete").write_text("")


try:
    main()
except BaseException as error:
    say(f"the driver failed: {error!r}")
    raise
finally:
    with open(RESULTS / "journal", "wb") as journal:
        subprocess.run(["journalctl", "--boot", "--no-pager", "--output=short-monotonic"], stdout=journal, check=False)
    os.sync()
