# /// honest
# shows = "TLS contexts and hashes"
# stdout = "True ba7816bf"
# ///
import hashlib
import ssl

context = ssl.create_default_context()
print(context.verify_mode == ssl.CERT_REQUIRED, hashlib.sha256(b"abc").hexdigest()[:8])
