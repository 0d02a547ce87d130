"""Writes matplotlib's font list for the font directories of the host.

usage: font_list.py OUTPUT_DIRECTORY FONT_DIRECTORY...

Prints one line of JSON: the file's name and the families in it. Runs on the host, with the default environment's
packages alone.
"""

import dataclasses
import json
import os
import stat
import sys

import matplotlib.font_manager as font_manager

output, *directories = sys.argv[1:]


def shown(path):
    """Whether a sandbox can open it: below a font directory even when links are followed, and readable by anyone."""
    real = os.path.realpath(path)
    inside = any(real.startswith(directory.rstrip("/") + "/") for directory in directories)
    return inside and os.stat(real).st_mode & stat.S_IROTH


manager = font_manager.fontManager
for path in sorted(font_manager.findSystemFonts(directories)):
    try:
        if shown(path):
            manager.addfont(path)
    except Exception:
        # A damaged font, or a kind that FreeType does not know: matplotlib passes over it as well.
        continue

# matplotlib warns whenever a family has no face of normal weight and it takes the next best, as with the CJK fonts of
# some distributions, which come as "medium" alone. The face that it would take is listed as normal instead.
NORMAL = 400


def distance(face):
    return abs(face.weight - NORMAL) if isinstance(face.weight, int) else 0


nearest = {}
for face in manager.ttflist:
    nearest[face.name] = min(distance(face), nearest.get(face.name, 1000))
manager.ttflist = [
    dataclasses.replace(face, weight=NORMAL) if distance(face) == nearest[face.name] else face
    for face in manager.ttflist
]

name = f"fontlist-v{font_manager.FontManager.__version__}.json"
font_manager.json_dump(manager, os.path.join(output, name))
print(json.dumps({"file": name, "families": sorted({entry.name for entry in manager.ttflist})}))
