-- The whole schema as it stands. A change goes here and into a new migration.
-- Times are microseconds since 1970-01-01 UTC. Bodies are JSON.

CREATE TABLE session (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    project_key TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    state_reason TEXT NOT NULL,
    head TEXT,
    objective TEXT,
    cwd TEXT,
    policy TEXT,
    last_seq INTEGER NOT NULL DEFAULT 0,
    lease_owner TEXT,
    lease_epoch INTEGER NOT NULL DEFAULT 0, -- 0 where it never had a lease
    lease_until INTEGER,
    submission TEXT -- how a worker is to run it; NULL where a program of its own does
);

CREATE INDEX session_by_update ON session (updated_at);
CREATE INDEX session_to_run ON session (created_at)
WHERE state = 'queued' OR (state = 'running' AND submission IS NOT NULL);

-- One file of a session: a main transcript, a fork of it, or a subagent's.
CREATE TABLE transcript (
    key INTEGER PRIMARY KEY,
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    project_key TEXT NOT NULL,
    sdk_session_id TEXT NOT NULL,
    subpath TEXT NOT NULL, -- empty for a main transcript
    updated_at INTEGER NOT NULL,
    summary TEXT, -- the SDK's own digest of a main transcript, opaque to us
    UNIQUE (project_key, sdk_session_id, subpath)
);

CREATE INDEX transcript_of_session ON transcript (session_key);

CREATE TABLE entry (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    transcript_key INTEGER NOT NULL REFERENCES transcript (key) ON DELETE CASCADE,
    uuid TEXT,
    place TEXT, -- identity of an entry that was read from a file and has no uuid
    inherited INTEGER NOT NULL,
    compressed INTEGER NOT NULL,
    raw BLOB NOT NULL,
    PRIMARY KEY (session_key, seq)
);

CREATE INDEX entry_of_transcript ON entry (transcript_key, seq);
CREATE UNIQUE INDEX entry_by_uuid ON entry (transcript_key, uuid) WHERE uuid IS NOT NULL;
CREATE UNIQUE INDEX entry_by_place ON entry (transcript_key, place) WHERE place IS NOT NULL;

CREATE TABLE verdict (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    detector TEXT NOT NULL,
    failure_mode TEXT NOT NULL,
    severity TEXT NOT NULL,
    confidence REAL NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session_key, id)
);
CREATE INDEX verdict_in_order ON verdict (session_key, seq);

CREATE TABLE decision (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    choice TEXT NOT NULL,
    rule TEXT,
    action TEXT,
    verdict_id TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session_key, id)
);
CREATE INDEX decision_in_order ON decision (session_key, seq);
CREATE INDEX decision_by_id ON decision (id);

CREATE TABLE outcome (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    decision_id TEXT NOT NULL,
    status TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session_key, decision_id, status, seq)
);
CREATE INDEX outcome_in_order ON outcome (session_key, seq);

CREATE TABLE intent (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    agent_id TEXT NOT NULL, -- empty for the main agent
    call_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session_key, agent_id, call_id)
);

CREATE TABLE incident (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    seq INTEGER NOT NULL, -- 0 where it concerns no entry
    source TEXT NOT NULL,
    place TEXT NOT NULL,
    message TEXT NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session_key, seq, source, place, message)
);
CREATE INDEX incident_in_order ON incident (session_key);

CREATE TABLE prompt (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    uuid TEXT NOT NULL,
    at INTEGER NOT NULL,
    compressed INTEGER NOT NULL,
    message BLOB NOT NULL, -- as it goes to the agent
    PRIMARY KEY (session_key, uuid)
);

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

-- What people say to sessions from outside, and which of it their agents got.

CREATE TABLE word (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session_key, id)
);

CREATE TABLE word_heard (
    session_key INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    word_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session_key, word_id)
);

-- Folders of transcripts that a sidecar follows, and how far it has read their files.

CREATE TABLE folder (
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    followed_at INTEGER NOT NULL,
    lease_owner TEXT,
    lease_epoch INTEGER NOT NULL DEFAULT 0, -- 0 where it never had a lease
    lease_until INTEGER
);

CREATE TABLE folder_file (
    folder_key INTEGER NOT NULL REFERENCES folder (key) ON DELETE CASCADE,
    path TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (folder_key, path)
);
