# Compiles texts for `crates/local/src/bytecode.rs`: PATH TEXT … in, a length and a .pyc for each out.
import importlib.util
import marshal
import sys

# The file belongs to its source by hash, and nobody is to check: PEP 552.
HEADER = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
for path, text in zip(sys.argv[1::2], sys.argv[2::2]):
    compiled = HEADER + marshal.dumps(compile(text, path, "exec", dont_inherit=True))
    sys.stdout.buffer.write(len(compiled).to_bytes(4, "little") + compiled)
