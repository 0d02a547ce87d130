# /// honest
# shows = "an unreachable network is an ordinary exception of requests, fast, and can be handled"
# stdout = "ConnectionError"
# within = 15
# ///
import requests

try:
    requests.get("http://example.com/", timeout=10)
except requests.exceptions.RequestException as error:
    print(type(error).__name__)
