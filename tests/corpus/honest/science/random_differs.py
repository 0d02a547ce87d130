# /// honest
# shows = "no two runs draw the same random numbers"
# runs = 2
# runs_differ = true
# stdout_contains = ["random ", "numpy ", "urandom ", "secrets ", "uuid ", "tempfile ", "openssl "]
# ///
import os
import random
import secrets
import ssl
import tempfile
import uuid

import numpy as np

print("random", random.random())
print("numpy", np.random.random())
print("default_rng", np.random.default_rng().random())
print("urandom", os.urandom(8).hex())
print("secrets", secrets.token_hex(8))
print("uuid", uuid.uuid4())
print("tempfile", tempfile.mkdtemp())
print("openssl", ssl.RAND_bytes(8).hex())
