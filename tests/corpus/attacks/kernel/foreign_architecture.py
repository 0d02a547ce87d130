# /// attack
# tries = "make a system call by the 32-bit gate, with numbers that mean something else there"
# requirement = "K1"
# layer = "seccomp, which checks the architecture"
# machine = "x86_64"
# [control]
# stdout = "now\nreached"
# [inside]
# reason = "SyscallDenied"
# exit = 159
# stdout = "now"
# ///
import ctypes
import mmap
import os

code = b"\xb8\x14\0\0\0\xcd\x80\xc3"  # mov eax, 20 (getpid); int 0x80; ret
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
print("now", flush=True)
result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
print("reached" if result == os.getpid() else f"unexpected {result}")
