-- Who runs a session, and until when. 0 where it never had a lease.

ALTER TABLE session ADD COLUMN lease_owner TEXT;
ALTER TABLE session ADD COLUMN lease_epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN lease_until INTEGER;

CREATE INDEX session_to_run ON session (created_at) WHERE state IN ('queued', 'running');
