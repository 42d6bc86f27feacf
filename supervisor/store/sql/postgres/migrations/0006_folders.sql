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
