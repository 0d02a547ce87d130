# /// honest
# shows = "endless recursion is a RecursionError, not a crash"
# stdout = "RecursionError"
# ///


def deeper(depth):
    return deeper(depth + 1)


try:
    deeper(0)
except RecursionError as error:
    print(type(error).__name__)
