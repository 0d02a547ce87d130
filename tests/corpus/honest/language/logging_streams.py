# /// honest
# shows = "logging, warnings and print on their streams"
# stdout = "printed"
# stderr_contains = ["WARNING:root:logged", "UserWarning: warned"]
# ///
import logging
import warnings

logging.basicConfig()
logging.warning("logged")
warnings.warn("warned")
print("printed")
