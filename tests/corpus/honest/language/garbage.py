# /// honest
# shows = "the garbage collector finds cycles although the interpreter was forked"
# stdout = "True True"
# ///
import gc
import weakref


class Node:
    pass


one, two = Node(), Node()
one.other, two.other = two, one
gone = weakref.ref(one)
del one, two
print(gc.collect() >= 2, gone() is None)
