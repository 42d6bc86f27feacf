-- Checkpoints of the agent's files: which there are, and their content in pieces.

CREATE TABLE lucid.files (
    number bigint GENERATED ALWAYS AS IDENTITY,
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    snapshot_id text NOT NULL,
    at timestamptz NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (session_key, snapshot_id, at)
);

CREATE TABLE lucid.files_chunk (
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    snapshot_id text NOT NULL,
    number integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (session_key, snapshot_id, number)
);
