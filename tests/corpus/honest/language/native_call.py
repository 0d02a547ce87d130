# /// honest
# shows = "a call into the C library by ctypes, with a callback"
# blocked = "ctypes"
# stdout = "0.5 [1, 2, 3]"
# ///
import ctypes
import ctypes.util

libm = ctypes.CDLL("libm.so.6")
libm.cos.restype, libm.cos.argtypes = ctypes.c_double, [ctypes.c_double]
COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
numbers = (ctypes.c_int * 3)(3, 1, 2)
ctypes.CDLL(None).qsort(numbers, 3, ctypes.sizeof(ctypes.c_int), COMPARE(lambda a, b: a[0] - b[0]))
print(round(libm.cos(1.0471975511965976), 9), list(numbers))
