# /// honest
# shows = "a module written at run time and imported from the work folder"
# stdout = "42"
# ///
from pathlib import Path

Path("helper.py").write_text("def answer():\n    return 42\n")
import helper

print(helper.answer())
