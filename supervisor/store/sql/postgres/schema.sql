-- The whole schema as it stands. A change goes here and into a new migration.
-- Bodies are JSON as text: it may hold escaped NULs, which jsonb refuses.

-- One row: the number of the newest migration.
CREATE TABLE lucid.schema_version (number integer NOT NULL);

-- Its row changes with every write, so no column that does so is in an index: PostgreSQL
-- can then update it in place.
CREATE TABLE lucid.session (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    project_key text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    state text NOT NULL,
    state_reason text NOT NULL,
    head text,
    objective text,
    cwd text,
    policy text,
    last_seq bigint NOT NULL DEFAULT 0,
    lease_owner text,
    lease_epoch bigint NOT NULL DEFAULT 0, -- 0 where it never had a lease
    lease_until timestamptz,
    submission text -- how a worker is to run it; NULL where a program of its own does
);

CREATE INDEX session_to_run ON lucid.session (created_at)
WHERE state = 'queued' OR (state = 'running' AND submission IS NOT NULL);

-- One file of a session: a main transcript, a fork of it, or a subagent's.
CREATE TABLE lucid.transcript (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    project_key text NOT NULL,
    sdk_session_id text NOT NULL,
    subpath text NOT NULL, -- empty for a main transcript
    updated_at timestamptz NOT NULL,
    summary text, -- the SDK's own digest of a main transcript, opaque to us
    UNIQUE (project_key, sdk_session_id, subpath)
);

CREATE INDEX transcript_of_session ON lucid.transcript (session_key);

CREATE TABLE lucid.entry (
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    seq bigint NOT NULL,
    transcript_key bigint NOT NULL REFERENCES lucid.transcript (key) ON DELETE CASCADE,
    uuid text,
    place text, -- identity of an entry that was read from a file and has no uuid
    inherited boolean NOT NULL,
    compressed boolean NOT NULL,
    raw bytea NOT NULL,
    PRIMARY KEY (session_key, seq)
);

CREATE INDEX entry_of_transcript ON lucid.entry (transcript_key, seq);
CREATE UNIQUE INDEX entry_by_uuid ON lucid.entry (transcript_key, uuid) WHERE uuid IS NOT NULL;
CREATE UNIQUE INDEX entry_by_place ON lucid.entry (transcript_key, place)
WHERE place IS NOT NULL;

-- What was concluded; `number` is the order in which it was recorded.

CREATE TABLE lucid.verdict (
    number bigint GENERATED ALWAYS AS IDENTITY,
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    id text NOT NULL,
    seq bigint NOT NULL,
    detector text NOT NULL,
    failure_mode text NOT NULL,
    severity text NOT NULL,
    confidence double precision NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (session_key, id)
);
CREATE INDEX verdict_in_order ON lucid.verdict (session_key, seq, number);

CREATE TABLE lucid.decision (
    number bigint GENERATED ALWAYS AS IDENTITY,
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    id text NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    choice text NOT NULL,
    rule text,
    action text,
    verdict_id text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (session_key, id)
);
CREATE INDEX decision_in_order ON lucid.decision (session_key, seq, number);
CREATE INDEX decision_by_id ON lucid.decision (id COLLATE "C");

CREATE TABLE lucid.outcome (
    number bigint GENERATED ALWAYS AS IDENTITY,
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    decision_id text NOT NULL,
    status text NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (session_key, decision_id, status, seq)
);
CREATE INDEX outcome_in_order ON lucid.outcome (session_key, seq, number);

CREATE TABLE lucid.intent (
    number bigint GENERATED ALWAYS AS IDENTITY,
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    agent_id text NOT NULL, -- empty for the main agent
    call_id text NOT NULL,
    tool text NOT NULL,
    at timestamptz NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (session_key, agent_id, call_id)
);

CREATE TABLE lucid.incident (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    seq bigint NOT NULL, -- 0 where it concerns no entry
    source text NOT NULL,
    place text NOT NULL,
    message text NOT NULL,
    at timestamptz NOT NULL,
    body text NOT NULL
);
CREATE INDEX incident_in_order ON lucid.incident (session_key, number);

-- A message may be longer than an index takes.
CREATE UNIQUE INDEX incident_once ON lucid.incident (
    session_key, seq, source, hashtextextended(place, 0), hashtextextended(message, 0)
);

CREATE TABLE lucid.prompt (
    number bigint GENERATED ALWAYS AS IDENTITY,
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    uuid text NOT NULL,
    at timestamptz NOT NULL,
    compressed boolean NOT NULL,
    message bytea NOT NULL, -- as it goes to the agent
    PRIMARY KEY (session_key, uuid)
);

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

-- What people say to sessions from outside, and which of it their agents got.

CREATE TABLE lucid.word (
    number bigint GENERATED ALWAYS AS IDENTITY,
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    id text NOT NULL,
    at timestamptz NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (session_key, id)
);

CREATE TABLE lucid.word_heard (
    number bigint GENERATED ALWAYS AS IDENTITY,
    session_key bigint NOT NULL REFERENCES lucid.session (key) ON DELETE CASCADE,
    word_id text NOT NULL,
    at timestamptz NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (session_key, word_id)
);

-- Folders of transcripts that a sidecar follows, and how far it has read their files.

CREATE TABLE lucid.folder (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    followed_at timestamptz NOT NULL,
    lease_owner text,
    lease_epoch bigint NOT NULL DEFAULT 0, -- 0 where it never had a lease
    lease_until timestamptz
);

CREATE TABLE lucid.folder_file (
    folder_key bigint NOT NULL REFERENCES lucid.folder (key) ON DELETE CASCADE,
    path text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (folder_key, path)
);
