# /// honest
# shows = "a traceback with the program's own lines, and none of the sandbox's frames"
# stdout = '''
# ['<module>', 'outer', 'inner']
# True
# 1 / zero
# '''
# ///
import sys
import traceback


def inner(zero):
    1 / zero


def outer():
    inner(0)


try:
    outer()
except ZeroDivisionError as error:
    frames = traceback.extract_tb(error.__traceback__)
    print([frame.name for frame in frames])
    print(sys._getframe().f_back is None)
    print(frames[-1].line)
