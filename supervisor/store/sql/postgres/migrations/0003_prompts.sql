-- Prompts, written before they are sent, and sessions that a worker is to run.
-- Numbers are those of SQLite's migrations: what the second adds was here from the start.

ALTER TABLE lucid.session ADD COLUMN submission text;

DROP INDEX lucid.session_to_run;
CREATE INDEX session_to_run ON lucid.session (created_at)
WHERE state = 'queued' OR (state = 'running' AND submission IS NOT NULL);

CREATE TABLE lucid.prompt (
    number bigint GENERATED ALWAYS AS IDENTITY,
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    uuid text NOT NULL,
    at timestamptz NOT NULL,
    compressed boolean NOT NULL,
    message bytea NOT NULL,
    PRIMARY KEY (session_key, uuid)
);
