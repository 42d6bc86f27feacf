-- Named statements. A block runs from its `-- name:` line to the next.

-- name: insert_session
INSERT INTO session (
    id, project_key, created_at, updated_at, state, state_reason, head, objective, cwd, policy,
    submission
)
VALUES (
    :id, :project_key, :now, :now, :state, '', :head, :objective, :cwd, :policy, :submission
)
ON CONFLICT (id) DO NOTHING;

-- name: update_session
UPDATE session
SET
    updated_at = :now,
    state = coalesce(:state, state),
    state_reason = coalesce(:state_reason, state_reason),
    head = coalesce(:head, head),
    objective = coalesce(:objective, objective),
    cwd = coalesce(:cwd, cwd),
    policy = coalesce(:policy, policy),
    submission = coalesce(:submission, submission)
WHERE id = :id;

-- name: advance_session
UPDATE session
SET updated_at = :now, last_seq = :last_seq
WHERE key = :session_key;

-- name: delete_empty_session
DELETE FROM session
WHERE key = :session_key AND NOT EXISTS (
    SELECT 1 FROM transcript WHERE transcript.session_key = session.key
);

-- name: session_key
SELECT key FROM session WHERE id = :id;

-- name: take_lease
UPDATE session
SET
    lease_epoch = lease_epoch + (lease_owner IS NOT :owner),
    lease_owner = :owner,
    lease_until = :until
WHERE id = :id AND (lease_owner IS :owner OR lease_until IS NULL OR lease_until <= :now);

-- name: extend_lease
UPDATE session
SET lease_until = :until
WHERE id = :id AND lease_owner = :owner AND lease_epoch = :epoch;

-- name: lease
SELECT id AS session_id, lease_owner AS owner, lease_epoch AS epoch, lease_until AS expires_at
FROM session
WHERE id = :id AND lease_epoch > 0;

-- name: runnable_ids
SELECT id
FROM session
WHERE
    (state = 'queued' OR (state = 'running' AND submission IS NOT NULL))
    AND (state = 'queued' OR lease_epoch > 0)
    AND (lease_until IS NULL OR lease_until <= :now)
ORDER BY created_at, key
LIMIT :limit;

-- name: session_rows
SELECT
    s.id AS session_id,
    s.project_key,
    s.created_at,
    s.updated_at,
    s.state,
    s.state_reason,
    s.head,
    s.objective,
    s.cwd,
    s.policy,
    s.submission,
    s.last_seq AS entries,
    s.lease_owner AS owner,
    s.lease_epoch AS epoch,
    CASE WHEN s.lease_until > :now THEN s.lease_until END AS expires_at,
    (SELECT count(*) FROM verdict AS v WHERE v.session_key = s.key) AS verdicts,
    (
        SELECT count(*) FROM decision AS d
        WHERE d.session_key = s.key AND d.choice = 'act'
    ) AS interventions
FROM session AS s
WHERE s.id IN (SELECT value FROM json_each(:ids))
ORDER BY s.updated_at DESC, s.key DESC;

-- name: session_ids_before
SELECT id FROM session
WHERE
    updated_at < :before
    OR (
        updated_at = :before
        AND key < (SELECT b.key FROM session AS b WHERE b.id = :before_id)
    )
ORDER BY updated_at DESC, key DESC
LIMIT :limit;

-- name: sessions_by_prefix
SELECT id FROM session WHERE substr(id, 1, length(:prefix)) = :prefix
UNION
SELECT s.id
FROM transcript AS t INNER JOIN session AS s ON t.session_key = s.key
WHERE substr(t.sdk_session_id, 1, length(:prefix)) = :prefix
ORDER BY 1
LIMIT :limit;

-- name: recent_session_ids
SELECT id FROM session ORDER BY updated_at DESC LIMIT :limit;

-- name: insert_transcript
INSERT INTO transcript (session_key, project_key, sdk_session_id, subpath, updated_at)
VALUES (:session_key, :project_key, :sdk_session_id, :subpath, :now);

-- name: transcript
SELECT t.key, t.session_key, t.summary, s.id AS session_id, s.last_seq
FROM transcript AS t INNER JOIN session AS s ON t.session_key = s.key
WHERE
    t.project_key = :project_key
    AND t.sdk_session_id = :sdk_session_id
    AND t.subpath = :subpath;

-- name: session_of_sdk_session
SELECT session_key FROM transcript
WHERE project_key = :project_key AND sdk_session_id = :sdk_session_id
ORDER BY subpath
LIMIT 1;

-- name: advance_transcript
UPDATE transcript
SET updated_at = :now, summary = coalesce(:summary, summary)
WHERE key = :transcript_key;

-- name: delete_transcript
DELETE FROM transcript
WHERE project_key = :project_key AND sdk_session_id = :sdk_session_id AND subpath = :subpath;

-- name: delete_sdk_session
DELETE FROM transcript WHERE project_key = :project_key AND sdk_session_id = :sdk_session_id;

-- name: sdk_sessions
SELECT sdk_session_id, updated_at, summary
FROM transcript
WHERE project_key = :project_key AND subpath = ''
ORDER BY updated_at DESC;

-- name: subpaths
SELECT subpath FROM transcript
WHERE project_key = :project_key AND sdk_session_id = :sdk_session_id AND subpath <> ''
ORDER BY key;

-- name: insert_entry
INSERT INTO entry (
    session_key, seq, transcript_key, uuid, place, inherited, compressed, raw
)
SELECT :session_key, :seq, :transcript_key, :uuid, :place, :inherited, :compressed, :raw
WHERE
    NOT EXISTS (SELECT 1 FROM entry WHERE transcript_key = :transcript_key AND uuid = :uuid)
    AND NOT EXISTS (SELECT 1 FROM entry WHERE transcript_key = :transcript_key AND place = :place);

-- What follows is of many writes at once: each row comes or goes as JSON, for each that a
-- statement returns costs the store's thread a wait.

-- name: transcripts_of_writes
SELECT json_group_array(
    json_array(
        t.key, t.session_key, t.summary, s.id, s.last_seq, w.key, s.lease_owner, s.lease_epoch
    )
)
FROM json_each(:keys) AS w
CROSS JOIN transcript AS t
    ON
        t.project_key = json_extract(w.value, '$[0]')
        AND t.sdk_session_id = json_extract(w.value, '$[1]')
        AND t.subpath = json_extract(w.value, '$[2]')
CROSS JOIN session AS s ON t.session_key = s.key;

-- name: entries_there
SELECT json_group_array(i.key)
FROM json_each(:identities) AS i
WHERE
    EXISTS (
        SELECT 1 FROM entry
        WHERE
            transcript_key = json_extract(i.value, '$[0]')
            AND uuid = json_extract(i.value, '$[1]')
    )
    OR EXISTS (
        SELECT 1 FROM entry
        WHERE
            transcript_key = json_extract(i.value, '$[0]')
            AND place = json_extract(i.value, '$[2]')
    );

-- name: insert_entries
INSERT INTO entry (session_key, seq, transcript_key, uuid, place, inherited, compressed, raw)
SELECT
    json_extract(n.value, '$[0]'),
    json_extract(n.value, '$[1]'),
    json_extract(n.value, '$[2]'),
    json_extract(n.value, '$[3]'),
    json_extract(n.value, '$[4]'),
    json_extract(n.value, '$[5]'),
    json_extract(n.value, '$[6]'),
    substr(:raws, json_extract(n.value, '$[7]'), json_extract(n.value, '$[8]'))
FROM json_each(:entries) AS n;

-- name: advance_transcripts
UPDATE transcript
SET updated_at = :now, summary = coalesce(json_extract(a.value, '$[1]'), transcript.summary)
FROM json_each(:summaries) AS a
WHERE transcript.key = json_extract(a.value, '$[0]');

-- name: advance_sessions
UPDATE session
SET updated_at = :now, last_seq = json_extract(a.value, '$[1]')
FROM json_each(:numbers) AS a
WHERE session.key = json_extract(a.value, '$[0]');

-- name: raws_of_transcript
SELECT seq, compressed, raw
FROM entry
WHERE transcript_key = :transcript_key AND seq > :after
ORDER BY seq
LIMIT :limit;

-- name: entries_after
SELECT
    e.seq, t.project_key, t.sdk_session_id, t.subpath, e.uuid, e.inherited, e.compressed, e.raw
FROM entry AS e INNER JOIN transcript AS t ON e.transcript_key = t.key
WHERE
    e.session_key = :session_key AND e.seq > :after
    AND (:transcript IS NULL OR t.sdk_session_id = :transcript)
ORDER BY e.seq
LIMIT :limit;

-- name: insert_verdict
INSERT INTO verdict (session_key, id, seq, detector, failure_mode, severity, confidence, body)
VALUES (:session_key, :id, :seq, :detector, :failure_mode, :severity, :confidence, :body)
ON CONFLICT DO NOTHING;

-- name: insert_decision
INSERT INTO decision (session_key, id, seq, at, choice, rule, action, verdict_id, body)
VALUES (:session_key, :id, :seq, :at, :choice, :rule, :action, :verdict_id, :body)
ON CONFLICT DO NOTHING;

-- name: insert_outcome
INSERT INTO outcome (session_key, decision_id, status, seq, at, body)
VALUES (:session_key, :decision_id, :status, :seq, :at, :body)
ON CONFLICT DO NOTHING;

-- name: insert_intent
INSERT INTO intent (session_key, agent_id, call_id, tool, at, body)
VALUES (:session_key, :agent_id, :call_id, :tool, :at, :body)
ON CONFLICT DO NOTHING;

-- name: insert_incident
INSERT INTO incident (session_key, seq, source, place, message, at, body)
VALUES (:session_key, :seq, :source, :place, :message, :at, :body)
ON CONFLICT DO NOTHING;

-- name: insert_prompt
INSERT INTO prompt (session_key, uuid, at, compressed, message)
VALUES (:session_key, :uuid, :at, :compressed, :message)
ON CONFLICT DO NOTHING;

-- name: insert_word
INSERT INTO word (session_key, id, at, body)
VALUES (:session_key, :id, :at, :body)
ON CONFLICT DO NOTHING;

-- name: insert_heard
INSERT INTO word_heard (session_key, word_id, at, body)
VALUES (:session_key, :word_id, :at, :body)
ON CONFLICT DO NOTHING;

-- name: words
SELECT 0 AS seq, w.rowid AS number, w.body
FROM word AS w
WHERE
    w.session_key = :session_key
    AND w.rowid > :after_number
    AND NOT EXISTS (
        SELECT 1 FROM word_heard AS h WHERE h.session_key = w.session_key AND h.word_id = w.id
    )
ORDER BY w.rowid
LIMIT :limit;

-- name: verdicts
SELECT seq, rowid AS number, body
FROM verdict
WHERE session_key = :session_key AND (seq, rowid) > (:after_seq, :after_number)
ORDER BY seq, rowid
LIMIT :limit;

-- name: decisions
SELECT seq, rowid AS number, body
FROM decision
WHERE session_key = :session_key AND (seq, rowid) > (:after_seq, :after_number)
ORDER BY seq, rowid
LIMIT :limit;

-- name: decisions_by_prefix
SELECT body FROM decision
WHERE id >= :prefix AND id < :prefix || char(1114111)
ORDER BY id, session_key
LIMIT :limit;

-- name: outcomes
SELECT seq, rowid AS number, body
FROM outcome
WHERE session_key = :session_key AND (seq, rowid) > (:after_seq, :after_number)
ORDER BY seq, rowid
LIMIT :limit;

-- name: intents
SELECT 0 AS seq, rowid AS number, body
FROM intent
WHERE session_key = :session_key AND rowid > :after_number
ORDER BY rowid
LIMIT :limit;

-- name: incidents
SELECT 0 AS seq, rowid AS number, body
FROM incident
WHERE session_key = :session_key AND rowid > :after_number
ORDER BY rowid
LIMIT :limit;

-- name: prompts
SELECT uuid, at, compressed, message FROM prompt WHERE session_key = :session_key ORDER BY rowid;

-- name: transcripts
SELECT project_key, sdk_session_id, subpath
FROM transcript
WHERE session_key = :session_key
ORDER BY key;

-- name: restore_session
UPDATE session
SET
    project_key = :project_key,
    created_at = :created_at,
    updated_at = :updated_at,
    state = :state,
    state_reason = :state_reason,
    head = :head,
    objective = :objective,
    cwd = :cwd,
    policy = :policy,
    submission = :submission,
    last_seq = :last_seq
WHERE key = :session_key;

-- name: restore_entry
INSERT INTO entry (session_key, seq, transcript_key, uuid, inherited, compressed, raw)
VALUES (:session_key, :seq, :transcript_key, :uuid, :inherited, :compressed, :raw);

-- name: prunable_ids
SELECT id
FROM session
WHERE
    updated_at < :before
    AND state <> 'queued'
    AND (state NOT IN ('running', 'paused') OR :unfinished)
    AND (lease_until IS NULL OR lease_until <= :now)
ORDER BY updated_at, key
LIMIT :limit;

-- name: mark_removal
UPDATE session SET state = 'closed', state_reason = :reason WHERE key = :session_key;

-- name: delete_newest_entries
DELETE FROM entry
WHERE session_key = :session_key AND seq IN (
    SELECT seq FROM entry WHERE session_key = :session_key ORDER BY seq DESC LIMIT :limit
);

-- name: delete_session
DELETE FROM session WHERE key = :session_key;

-- name: insert_files
INSERT INTO files (session_key, snapshot_id, at, body)
VALUES (:session_key, :snapshot_id, :at, :body)
ON CONFLICT DO NOTHING;

-- name: files
SELECT 0 AS seq, rowid AS number, body
FROM files
WHERE session_key = :session_key AND rowid > :after_number
ORDER BY rowid
LIMIT :limit;

-- name: write_files_chunk
INSERT INTO files_chunk (session_key, snapshot_id, number, data)
VALUES (:session_key, :snapshot_id, :number, :data)
ON CONFLICT DO UPDATE SET data = excluded.data;

-- name: files_chunk
SELECT data FROM files_chunk
WHERE session_key = :session_key AND snapshot_id = :snapshot_id AND number = :number;

-- name: insert_folder
INSERT INTO folder (name, followed_at) VALUES (:name, :now) ON CONFLICT DO NOTHING;

-- name: folder
SELECT
    key,
    name,
    followed_at,
    lease_owner AS owner,
    lease_epoch AS epoch,
    lease_until AS expires_at
FROM folder
WHERE name = :name;

-- name: live_folders
SELECT
    key,
    name,
    followed_at,
    lease_owner AS owner,
    lease_epoch AS epoch,
    lease_until AS expires_at
FROM folder
WHERE lease_until > :now
ORDER BY name;

-- name: take_folder
UPDATE folder
SET
    lease_epoch = lease_epoch + (lease_owner IS NOT :owner),
    lease_owner = :owner,
    lease_until = :until
WHERE name = :name AND (lease_owner IS :owner OR lease_until IS NULL OR lease_until <= :now);

-- name: extend_folder
UPDATE folder
SET lease_until = :until
WHERE name = :name AND lease_owner = :owner AND lease_epoch = :epoch;

-- name: put_mark
INSERT INTO folder_file (folder_key, path, body) VALUES (:folder_key, :path, :body)
ON CONFLICT (folder_key, path) DO UPDATE SET body = excluded.body;

-- name: marks
SELECT body FROM folder_file WHERE folder_key = :folder_key ORDER BY path;

-- name: id_of_sdk_session
SELECT s.id
FROM transcript AS t INNER JOIN session AS s ON t.session_key = s.key
WHERE t.project_key = :project_key AND t.sdk_session_id = :sdk_session_id
LIMIT 1;

-- name: live_leases
SELECT id AS session_id, lease_owner AS owner, lease_epoch AS epoch, lease_until AS expires_at
FROM session
WHERE lease_until > :now;
