# /// honest
# shows = "requests against an own HTTP server on loopback, by name"
# stdout = "200 {'message': 'good day'}"
# ///
import http.server
import json
import threading

import requests


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"message": "good day"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
answer = requests.get(f"http://localhost:{server.server_port}/greeting", timeout=10)
print(answer.status_code, answer.json())
server.shutdown()
