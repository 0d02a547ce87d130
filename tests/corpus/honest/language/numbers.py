# /// honest
# shows = "decimals, fractions, big integers, statistics"
# stdout = "0.3 5/6 2568 2.5"
# ///
import decimal
import fractions
import math
import statistics

print(
    decimal.Decimal("0.1") + decimal.Decimal("0.2"),
    fractions.Fraction(1, 2) + fractions.Fraction(1, 3),
    len(str(math.factorial(1000))),
    statistics.median([1, 2, 3, 4]),
)
