# /// honest
# shows = "a child Python: input, output, exit code and the same packages"
# stdout = "HELLO 3 True"
# ///
import subprocess
import sys

code = "import sys; print(sys.stdin.read().upper()); sys.exit(3)"
child = subprocess.run([sys.executable, "-c", code], input="hello", capture_output=True, text=True)
packages = subprocess.run([sys.executable, "-c", "import numpy; print(numpy.__version__)"], capture_output=True, text=True)
import numpy

print(child.stdout.strip(), child.returncode, packages.stdout.strip() == numpy.__version__)
