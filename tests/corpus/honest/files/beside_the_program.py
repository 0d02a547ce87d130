# /// honest
# shows = "paths relative to the program's own file"
# stdout = "main.py /work note True"
# ///
import os
import sys
from pathlib import Path

here = Path(__file__).parent
(here / "note.txt").write_text("note")
source = Path(__file__).read_text()
print(Path(__file__).name, os.getcwd(), (here / "note.txt").read_text(), "shows =" in source and sys.path[0] == str(here))
