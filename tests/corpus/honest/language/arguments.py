# /// honest
# shows = "arguments, also empty ones, with spaces, dashes and beyond ASCII"
# args = ["--flag", "two words", "", "-x", "数据"]
# stdout = "['/work/main.py', '--flag', 'two words', '', '-x', '数据']"
# ///
import sys

print(sys.argv)
