-- Times are microseconds since the epoch. What is large comes last: SQLite reads a row from its beginning.
CREATE TABLE sandbox_executions (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    -- Hex SHA-256 of the caller's own name for the request: that may be long, and have any characters.
    idempotency_digest TEXT,
    status TEXT NOT NULL,
    reason TEXT,
    -- The server that has it. Nobody's: it was let go, or has ended.
    server TEXT,
    cancel_requested BIGINT NOT NULL DEFAULT 0,
    queued_at BIGINT NOT NULL,
    started_at BIGINT,
    -- Nothing before its end: that is what tells an execution that has ended.
    finished_at BIGINT,
    -- Of request, result, events and files together.
    bytes BIGINT NOT NULL,
    -- JSON of what is needed only until its end: what its owner may, and the caller's own name for the request.
    waiting TEXT,
    -- JSON, as result and events.
    request TEXT,
    result TEXT,
    events TEXT
);

CREATE UNIQUE INDEX sandbox_executions_idempotency ON sandbox_executions (owner, idempotency_digest)
    WHERE idempotency_digest IS NOT NULL;
CREATE INDEX sandbox_executions_owner ON sandbox_executions (owner, id);
CREATE INDEX sandbox_executions_owner_status ON sandbox_executions (owner, status, id);
CREATE INDEX sandbox_executions_server ON sandbox_executions (server) WHERE finished_at IS NULL;
CREATE INDEX sandbox_executions_finished ON sandbox_executions (finished_at, id, bytes) WHERE finished_at IS NOT NULL;

CREATE TABLE sandbox_files (
    execution_id TEXT NOT NULL REFERENCES sandbox_executions (id) ON DELETE CASCADE,
    -- The key, since a path may be longer than an index takes.
    position BIGINT NOT NULL,
    path TEXT NOT NULL,
    size BIGINT NOT NULL,
    mime_type TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (execution_id, position)
);

CREATE TABLE sandbox_keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    -- Hex SHA-256 of the secret.
    digest TEXT NOT NULL UNIQUE,
    -- JSON.
    allowance TEXT NOT NULL,
    -- Microseconds since the epoch.
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
