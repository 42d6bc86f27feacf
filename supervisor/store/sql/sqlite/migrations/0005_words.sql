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
