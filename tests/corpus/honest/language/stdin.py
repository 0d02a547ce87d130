# /// honest
# shows = "standard input, by input() and to its end"
# stdin = "first\nzweite Zeile mit Ümläuten\nthird\n"
# stdout = "first ['zweite Zeile mit Ümläuten', 'third']"
# ///
import sys

print(input(), [line.strip() for line in sys.stdin])
