#!/bin/sh
# The main calls of the HTTP service with curl. Usage: curl.sh [BASE_URL [KEY]]
set -eu

base=${1:-http://127.0.0.1:5000}
key=${2:-}

call() {
    curl --silent --show-error --fail-with-body --header "Authorization: Bearer $key" "$@"
    echo
}

# One field of a JSON answer, where there is no jq.
field() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

echo "# Run a program and wait for the result"
call "$base/api/python/execute" --header 'Content-Type: application/json' \
    --data '{"code": "print(6 * 7)", "timeout": 10, "resources": {"memoryLimit": "256Mi"}}'

echo "# The same as a form"
call "$base/api/python/execute" --form-string 'request={"code": "print(\"from a form\")"}'

echo "# Start a program; sent twice with the same key, it starts once"
id=$(call "$base/api/python/executions" --header 'Content-Type: application/json' \
    --header "Idempotency-Key: example-$$" --data '{"code": "print(\"started\")"}' | field executionId)
echo "$id"

echo "# Follow it until it has ended"
call --no-buffer "$base/api/python/executions/$id/events"

echo "# Ask for its state, its result (waiting up to 30 s), and its output"
call "$base/api/python/executions/$id"
call "$base/api/python/executions/$id/result?wait=30"
call "$base/api/python/executions/$id/logs?stream=stdout"

echo "# Cancel another one"
id=$(call "$base/api/python/executions" --header 'Content-Type: application/json' \
    --data '{"code": "while True: pass", "timeout": 10}' | field executionId)
call --request POST "$base/api/python/executions/$id/cancel"

echo "# What is there, and what a program can count on"
call "$base/api/python/executions?limit=2"
call "$base/api/python/capabilities?format=text"
