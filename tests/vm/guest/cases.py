"""A test runner for the scripts in this folder, with the words of cargo's."""

import os
import subprocess
import sys
import traceback


class Skipped(Exception):
    """Raised by a case that this guest cannot run, with the reason."""


def main(cases):
    """Runs functions in order; each is a case. `--list` and SANDBOX_TEST_ONLY work as with the corpora."""
    only = os.environ.get("SANDBOX_TEST_ONLY")
    names = {case.__name__ if callable(case) else case[0]: case if callable(case) else case[1] for case in cases}
    if only is not None:
        unknown = [name for name in only.splitlines() if name not in names]
        if unknown:
            sys.exit(f"SANDBOX_TEST_ONLY: there is no case {unknown}")
        names = {name: case for name, case in names.items() if name in only.splitlines()}
    if "--list" in sys.argv:
        for name in names:
            print(f"{name}: test")
        return
    failed = 0
    for name, case in names.items():
        try:
            case()
            print(f"test {name} ... ok", flush=True)
        except Skipped as reason:
            print(f"test {name} ... ignored ({reason})", flush=True)
        except Exception:
            failed += 1
            print(f"test {name} ... FAILED", flush=True)
            print(f"---- {name}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
    sys.exit(101 if failed else 0)


def expected_weaker(layers):
    """With `network`, where the kernel hides a bound of the network from user namespaces."""
    shown = subprocess.run(["unshare", "--user", "--map-root-user", "--net", "test", "-e", "/proc/sys/net/core/somaxconn"])
    return set(layers) | (set() if shown.returncode == 0 else {"network"})


def check(condition, what):
    """An assertion that says what it saw."""
    if not condition:
        raise AssertionError(what)
