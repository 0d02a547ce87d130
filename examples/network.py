"""Tries to reach a public address: there is no network inside, so this fails at once."""

import socket

socket.create_connection(("192.0.2.1", 443), timeout=5)
