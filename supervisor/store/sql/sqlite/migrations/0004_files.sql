-- Checkpoints of the agent's files: which there are, and their content in pieces.

CREATE TABLE files (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    snapshot_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session_key, snapshot_id, at)
);

CREATE TABLE files_chunk (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    snapshot_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (session_key, snapshot_id, number)
);
