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
