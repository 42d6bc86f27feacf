-- Prompts, written before they are sent, and sessions that a worker is to run.

ALTER TABLE session ADD COLUMN submission TEXT;

DROP INDEX session_to_run;
CREATE INDEX session_to_run ON session (created_at)
WHERE state = 'queued' OR (state = 'running' AND submission IS NOT NULL);

CREATE TABLE prompt (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    uuid TEXT NOT NULL,
    at INTEGER NOT NULL,
    compressed INTEGER NOT NULL,
    message BLOB NOT NULL,
    PRIMARY KEY (session_key, uuid)
);
