"""A client of the HTTP service that needs nothing but the standard library.

    client = SandboxClient("http://127.0.0.1:5000")
    print(client.execute("print(6 * 7)")["stdout"])

Results are the JSON of the service, as docs/result.md describes it. Run as a program, this file shows every call.
"""

import http.client
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid


class SandboxError(Exception):
    """The service did not run the program, and says why."""

    def __init__(self, status, problem):
        super().__init__(f"{problem.get('code', status)}: {problem.get('detail', '')}")
        self.status = status
        self.problem = problem


class SandboxClient:
    def __init__(self, base_url, key=None, timeout=330.0):
        self.base_url = base_url.rstrip("/")
        self.headers = {"Accept": "application/json"}
        if key:
            self.headers["Authorization"] = f"Bearer {key}"
        self.timeout = timeout

    def execute(self, code, **options):
        """Runs a program and waits for its result. `options` are the other fields: `timeout`, `stdin`, `resources` …"""
        return self._json("POST", "/api/python/execute", {"code": code, **options})

    def start(self, code, idempotency_key=None, **options):
        """Starts a program; its state, with `executionId`. With the same key it can be sent again and starts once."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._json("POST", "/api/python/executions", {"code": code, **options}, headers)

    def status(self, execution_id):
        return self._json("GET", f"/api/python/executions/{execution_id}")

    def result(self, execution_id, wait=60.0):
        """The result, or None when it has not ended within `wait` seconds (at most 60)."""
        with self._open("GET", f"/api/python/executions/{execution_id}/result?wait={wait}") as response:
            answer = json.load(response)
            return answer if response.status == 200 else None

    def cancel(self, execution_id):
        return self._json("POST", f"/api/python/executions/{execution_id}/cancel")

    def events(self, execution_id, after=0, attempts=5):
        """What happens, as (number, name, data), until the result. A lost connection is taken up where it broke off."""
        left = attempts
        while True:
            try:
                headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
                path = f"/api/python/executions/{execution_id}/events"
                with self._open("GET", path, headers=headers) as response:
                    for number, name, data in _read_events(response):
                        after, left = number, attempts
                        yield number, name, data
                        if name == "result":
                            return
            except (OSError, http.client.HTTPException):
                if left == 0:
                    raise
            if left == 0:
                raise ConnectionError("the events ended before the result")
            left -= 1
            time.sleep(1)

    def _json(self, method, path, body=None, headers=None):
        with self._open(method, path, body, headers) as response:
            return json.load(response)

    def _open(self, method, path, body=None, headers=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.headers, **({"Content-Type": "application/json"} if body is not None else {}), **(headers or {})}
        request = urllib.request.Request(self.base_url + path, data, headers, method=method)
        try:
            return urllib.request.urlopen(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            try:
                problem = json.loads(text)
            except ValueError:
                # Something in between has answered.
                problem = {"detail": text[:200].decode(errors="replace")}
            raise SandboxError(error.code, problem) from None


def _read_events(lines):
    """Server-Sent Events: an empty line ends one; lines that begin with a colon keep the connection alive."""
    fields = {}
    for line in lines:
        line = line.decode().rstrip("\r\n")
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif not line and "data" in fields:
            yield int(fields.get("id", 0)), fields.get("event", "message"), json.loads(fields["data"])
            fields = {}


def main(base_url, key=None):
    client = SandboxClient(base_url, key)

    result = client.execute("print(6 * 7)", timeout=10)
    print("execute:", result["status"], result["stdout"].strip())

    started = client.start("import time\nfor step in range(3):\n    print('step', step, flush=True)\n    time.sleep(0.2)")
    execution_id = started["executionId"]
    print("start:", execution_id == str(uuid.UUID(execution_id)))
    for number, name, data in client.events(execution_id):
        if name == "stdout":
            print("event:", data["text"].strip().replace("\n", ", "))
    print("status:", client.status(execution_id)["status"])
    print("result:", client.result(execution_id)["stdout"].split())
    # Only what comes after the first event, as after a lost connection.
    print("resumed:", min(number for number, _, _ in client.events(execution_id, after=1)) == 2)

    endless = client.start("while True: pass", timeout=30)
    client.cancel(endless["executionId"])
    print("cancel:", client.result(endless["executionId"])["status"])

    try:
        client.execute("import ctypes")
    except SandboxError as error:
        print("refused:", error.status, error.problem["code"], error.problem["violations"][0]["line"])


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["http://127.0.0.1:5000"]))
