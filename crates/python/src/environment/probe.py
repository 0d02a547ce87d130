"""Describes the CPython that runs it, as one line of JSON. Runs with -I -S: no site-packages, no user code."""

import json
import os
import sys
import sysconfig


def existing(paths):
    return [path for path in dict.fromkeys(map(os.path.realpath, paths)) if os.path.isdir(path)]


def glibc():
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, OSError, ValueError):
        return None


# An interpreter of a virtual environment is a link to, or a copy of, the one that owns the standard library.
executable = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
library = existing([sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")])

print(
    json.dumps(
        {
            "implementation": sys.implementation.name,
            "version": list(sys.version_info[:3]),
            "freeThreaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            "machine": os.uname().machine if sys.maxsize > 2**32 else "32-bit",
            "glibc": glibc(),
            "executable": executable,
            "standardLibrary": library,
            "extensionModules": existing(
                [sysconfig.get_config_var("DESTSHARED") or ""] + [os.path.join(path, "lib-dynload") for path in library]
            ),
            "hidden": existing(
                os.path.join(path, name) for path in library for name in ("site-packages", "dist-packages")
            ),
        }
    )
)
