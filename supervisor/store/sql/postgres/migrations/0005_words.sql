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
