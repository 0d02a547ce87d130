# /// honest
# shows = "doctest finds the examples of the program itself"
# stdout = "TestResults(failed=0, attempted=2)"
# ///
"""Examples.

>>> 1 + 1
2
"""
import doctest


def double(number):
    """Twice.

    >>> double(4)
    8
    """
    return number * 2


print(str(doctest.testmod()).replace(", skipped=0", ""))
