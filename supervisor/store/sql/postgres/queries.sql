-- Named statements. A block runs from its `-- name:` line to the next.

-- name: prepare_connection
-- Waiting for the disk is not left to a server that was told otherwise.
SELECT
    set_config('TimeZone', 'UTC', false),
    set_config('statement_timeout', %(statement_timeout)s, false),
    set_config('idle_in_transaction_session_timeout', %(statement_timeout)s, false),
    set_config(
        'synchronous_commit',
        CASE current_setting('synchronous_commit')
            WHEN 'off' THEN 'on'
            WHEN 'local' THEN 'on'
            ELSE current_setting('synchronous_commit')
        END,
        false
    );

-- name: lock_schema
-- For as long as the migration takes, which may be longer than other statements may.
SELECT set_config('statement_timeout', '0', true), pg_advisory_xact_lock(1279607620);

-- name: schema_there
SELECT
    to_regnamespace('lucid') IS NOT NULL AS made,
    to_regclass('lucid.schema_version') IS NOT NULL AS versioned,
    EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = to_regnamespace('lucid')) AS used;

-- name: create_schema
CREATE SCHEMA lucid;

-- name: version
SELECT number FROM lucid.schema_version;

-- name: delete_version
DELETE FROM lucid.schema_version;

-- name: insert_version
INSERT INTO lucid.schema_version (number) VALUES (%(number)s);

-- name: transaction_status
SELECT pg_xact_status(%(id)s::xid8) AS status;

-- name: insert_session
INSERT INTO lucid.session (
    id, project_key, created_at, updated_at, state, state_reason, head, objective, cwd, policy,
    submission
)
VALUES (
    %(id)s, %(project_key)s, now(), now(), %(state)s, '',
    %(head)s, %(objective)s, %(cwd)s, %(policy)s, %(submission)s
)
ON CONFLICT (id) DO NOTHING
RETURNING key;

-- name: update_session
UPDATE lucid.session
SET
    updated_at = clock_timestamp(),
    state = coalesce(%(state)s, state),
    state_reason = coalesce(%(state_reason)s, state_reason),
    head = coalesce(%(head)s, head),
    objective = coalesce(%(objective)s, objective),
    cwd = coalesce(%(cwd)s, cwd),
    policy = coalesce(%(policy)s, policy),
    submission = coalesce(%(submission)s, submission)
WHERE id = %(id)s
RETURNING key;

-- name: delete_empty_session
DELETE FROM lucid.session
WHERE key = %(session_key)s AND NOT EXISTS (
    SELECT 1 FROM lucid.transcript AS t WHERE t.session_key = session.key
);

-- name: session_keys
SELECT id, key FROM lucid.session WHERE id = ANY(%(ids)s);

-- name: session_of_key
SELECT
    key AS session_key,
    id AS session_id,
    last_seq,
    lease_owner AS owner,
    lease_epoch AS epoch,
    lease_until AS expires_at
FROM lucid.session
WHERE key = %(session_key)s
FOR NO KEY UPDATE;

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
    CASE WHEN s.lease_until > clock_timestamp() THEN s.lease_until END AS expires_at,
    (SELECT count(*) FROM lucid.verdict AS v WHERE v.session_key = s.key) AS verdicts,
    (
        SELECT count(*) FROM lucid.decision AS d
        WHERE d.session_key = s.key AND d.choice = 'act'
    ) AS interventions
FROM lucid.session AS s
WHERE s.id = ANY(%(ids)s)
ORDER BY array_position(%(ids)s, s.id);

-- name: recent_session_ids
SELECT id FROM lucid.session ORDER BY updated_at DESC, key DESC LIMIT %(limit)s;

-- name: session_ids_before
SELECT id FROM lucid.session
WHERE
    updated_at < %(before)s
    OR (
        updated_at = %(before)s
        AND key < (SELECT b.key FROM lucid.session AS b WHERE b.id = %(before_id)s)
    )
ORDER BY updated_at DESC, key DESC
LIMIT %(limit)s;

-- name: runnable_ids
SELECT id
FROM lucid.session
WHERE
    (state = 'queued' OR (state = 'running' AND submission IS NOT NULL))
    AND (state = 'queued' OR lease_epoch > 0)
    AND (lease_until IS NULL OR lease_until <= clock_timestamp())
ORDER BY created_at, key
LIMIT %(limit)s;

-- name: sessions_by_prefix
SELECT id FROM lucid.session WHERE starts_with(id, %(prefix)s)
UNION
SELECT s.id
FROM lucid.transcript AS t INNER JOIN lucid.session AS s ON t.session_key = s.key
WHERE starts_with(t.sdk_session_id, %(prefix)s)
ORDER BY 1
LIMIT %(limit)s;

-- name: take_lease
UPDATE lucid.session
SET
    lease_epoch = lease_epoch + (lease_owner IS DISTINCT FROM %(owner)s)::integer,
    lease_owner = %(owner)s,
    lease_until = clock_timestamp() + %(ttl)s
WHERE
    id = %(id)s
    AND (
        lease_owner = %(owner)s
        OR lease_until IS NULL
        OR lease_until <= clock_timestamp()
    )
RETURNING
    id AS session_id, lease_owner AS owner, lease_epoch AS epoch, lease_until AS expires_at;

-- name: extend_lease
UPDATE lucid.session
SET lease_until = clock_timestamp() + %(ttl)s
WHERE id = %(id)s AND lease_owner = %(owner)s AND lease_epoch = %(epoch)s
RETURNING
    id AS session_id, lease_owner AS owner, lease_epoch AS epoch, lease_until AS expires_at;

-- name: lease
SELECT id AS session_id, lease_owner AS owner, lease_epoch AS epoch, lease_until AS expires_at
FROM lucid.session
WHERE id = %(id)s AND lease_epoch > 0;

-- name: lease_that_stays
-- Waits for whoever is just taking the session over, and makes them wait.
SELECT id AS session_id, lease_owner AS owner, lease_epoch AS epoch, lease_until AS expires_at
FROM lucid.session
WHERE id = %(id)s
FOR NO KEY UPDATE;

-- name: transcript
-- A transcript and its session, locked: their writers come one after another.
SELECT
    t.key,
    t.summary,
    s.key AS session_key,
    s.id AS session_id,
    s.last_seq,
    s.lease_owner AS owner,
    s.lease_epoch AS epoch,
    s.lease_until AS expires_at
FROM lucid.transcript AS t INNER JOIN lucid.session AS s ON t.session_key = s.key
WHERE
    t.project_key = %(project_key)s
    AND t.sdk_session_id = %(sdk_session_id)s
    AND t.subpath = %(subpath)s
FOR NO KEY UPDATE;

-- name: transcripts_of_writes
-- The same of several, by their write's number from 1. A transcript that another writer has
-- locked just now is left out: who waits for no row is in no deadlock, and holds nobody up.
SELECT
    w.number,
    t.key,
    t.session_key,
    t.summary,
    s.id AS session_id,
    s.last_seq,
    coalesce(s.lease_owner, '') AS owner,
    s.lease_epoch AS epoch
FROM
    unnest(%(project_keys)s::text [], %(sdk_session_ids)s::text [], %(subpaths)s::text [])
    WITH ORDINALITY AS w (project_key, sdk_session_id, subpath, number)
INNER JOIN lucid.transcript AS t
    ON
        w.project_key = t.project_key
        AND w.sdk_session_id = t.sdk_session_id
        AND w.subpath = t.subpath
INNER JOIN lucid.session AS s ON t.session_key = s.key
FOR NO KEY UPDATE OF t, s SKIP LOCKED;

-- name: lock_sdk_session
-- Those who make a transcript of one SDK session come one after another.
SELECT pg_advisory_xact_lock(1279607620, hashtext(%(sdk_session_id)s));

-- name: insert_transcript
INSERT INTO lucid.transcript (session_key, project_key, sdk_session_id, subpath, updated_at)
VALUES (%(session_key)s, %(project_key)s, %(sdk_session_id)s, %(subpath)s, now())
RETURNING key;

-- name: session_of_sdk_session
SELECT session_key
FROM lucid.transcript
WHERE project_key = %(project_key)s AND sdk_session_id = %(sdk_session_id)s
ORDER BY subpath
LIMIT 1;

-- name: advance
WITH advanced AS (
    UPDATE lucid.transcript
    SET updated_at = clock_timestamp(), summary = coalesce(%(summary)s, summary)
    WHERE key = %(transcript_key)s
)
UPDATE lucid.session
SET updated_at = clock_timestamp(), last_seq = %(last_seq)s
WHERE key = %(session_key)s;

-- name: advance_all
WITH advanced AS (
    UPDATE lucid.transcript AS t
    SET updated_at = clock_timestamp(), summary = coalesce(a.summary, t.summary)
    FROM unnest(%(transcript_keys)s::bigint [], %(summaries)s::text []) AS a (key, summary)
    WHERE t.key = a.key
)
UPDATE lucid.session AS s
SET updated_at = clock_timestamp(), last_seq = a.last_seq
FROM unnest(%(session_keys)s::bigint [], %(last_seqs)s::bigint []) AS a (key, last_seq)
WHERE s.key = a.key;

-- name: delete_transcript
DELETE FROM lucid.transcript
WHERE
    project_key = %(project_key)s
    AND sdk_session_id = %(sdk_session_id)s
    AND subpath = %(subpath)s;

-- name: delete_sdk_session
DELETE FROM lucid.transcript
WHERE project_key = %(project_key)s AND sdk_session_id = %(sdk_session_id)s;

-- name: sdk_sessions
SELECT sdk_session_id, updated_at, summary
FROM lucid.transcript
WHERE project_key = %(project_key)s AND subpath = ''
ORDER BY updated_at DESC;

-- name: subpaths
SELECT subpath
FROM lucid.transcript
WHERE
    project_key = %(project_key)s AND sdk_session_id = %(sdk_session_id)s AND subpath <> ''
ORDER BY key;

-- name: transcript_key
SELECT key
FROM lucid.transcript
WHERE
    project_key = %(project_key)s
    AND sdk_session_id = %(sdk_session_id)s
    AND subpath = %(subpath)s;

-- name: known_entries
SELECT uuid, NULL AS place
FROM lucid.entry
WHERE transcript_key = %(transcript_key)s AND uuid IS NOT NULL AND uuid = ANY(%(uuids)s)
UNION ALL
SELECT NULL AS uuid, place
FROM lucid.entry
WHERE transcript_key = %(transcript_key)s AND place IS NOT NULL AND place = ANY(%(places)s);

-- name: entries_there
-- Which of these entries there are, by their number from 1. Each is looked up by itself:
-- LIMIT keeps the server from reading the whole table instead.
SELECT i.number
FROM
    unnest(%(transcript_keys)s::bigint [], %(uuids)s::text [], %(places)s::text [])
    WITH ORDINALITY AS i (transcript_key, uuid, place, number)
CROSS JOIN LATERAL (
    (
        SELECT 1 FROM lucid.entry AS e
        WHERE e.transcript_key = i.transcript_key AND e.uuid IS NOT NULL AND e.uuid = i.uuid
        LIMIT 1
    )
    UNION ALL
    (
        SELECT 1 FROM lucid.entry AS e
        WHERE e.transcript_key = i.transcript_key AND e.place IS NOT NULL AND e.place = i.place
        LIMIT 1
    )
) AS found;

-- name: insert_entries
INSERT INTO lucid.entry (
    session_key, transcript_key, seq, uuid, place, inherited, compressed, raw
)
SELECT d.*
FROM unnest(
    %(session_keys)s::bigint[],
    %(transcript_keys)s::bigint[],
    %(seqs)s::bigint[],
    %(uuids)s::text[],
    %(places)s::text[],
    %(inherited)s::boolean[],
    %(compressed)s::boolean[],
    %(raws)b::bytea[]
) AS d;

-- name: raws_of_transcript
SELECT compressed, raw
FROM lucid.entry
WHERE transcript_key = %(transcript_key)s
ORDER BY seq;

-- name: entries_after
-- The next entries: some hundreds, or some megabytes, whichever is less.
SELECT seq, project_key, sdk_session_id, subpath, uuid, inherited, compressed, raw
FROM (
    SELECT
        e.seq,
        t.project_key,
        t.sdk_session_id,
        t.subpath,
        e.uuid,
        e.inherited,
        e.compressed,
        e.raw,
        sum(octet_length(e.raw)) OVER (ORDER BY e.seq ROWS UNBOUNDED PRECEDING)
        - octet_length(e.raw) AS before
    FROM lucid.entry AS e INNER JOIN lucid.transcript AS t ON e.transcript_key = t.key
    WHERE
        e.session_key = %(session_key)s
        AND e.seq > %(after)s
        AND (%(transcript)s::text IS NULL OR t.sdk_session_id = %(transcript)s)
    ORDER BY e.seq
    LIMIT %(rows)s
) AS batch
WHERE before < %(bytes)s
ORDER BY seq;

-- name: insert_verdict
INSERT INTO lucid.verdict (
    session_key, id, seq, detector, failure_mode, severity, confidence, body
)
VALUES (
    %(session_key)s, %(id)s, %(seq)s, %(detector)s, %(failure_mode)s, %(severity)s,
    %(confidence)s, %(body)s
)
ON CONFLICT DO NOTHING;

-- name: insert_decision
INSERT INTO lucid.decision (session_key, id, seq, at, choice, rule, action, verdict_id, body)
VALUES (
    %(session_key)s, %(id)s, %(seq)s, %(at)s, %(choice)s, %(rule)s, %(action)s,
    %(verdict_id)s, %(body)s
)
ON CONFLICT DO NOTHING;

-- name: insert_outcome
INSERT INTO lucid.outcome (session_key, decision_id, status, seq, at, body)
VALUES (%(session_key)s, %(decision_id)s, %(status)s, %(seq)s, %(at)s, %(body)s)
ON CONFLICT DO NOTHING;

-- name: insert_intent
INSERT INTO lucid.intent (session_key, agent_id, call_id, tool, at, body)
VALUES (%(session_key)s, %(agent_id)s, %(call_id)s, %(tool)s, %(at)s, %(body)s)
ON CONFLICT DO NOTHING;

-- name: insert_incident
INSERT INTO lucid.incident (session_key, seq, source, place, message, at, body)
VALUES (
    %(session_key)s, %(seq)s, %(source)s, %(place)s, %(message)s, %(at)s, %(body)s
)
ON CONFLICT DO NOTHING;

-- name: insert_prompt
INSERT INTO lucid.prompt (session_key, uuid, at, compressed, message)
VALUES (%(session_key)s, %(uuid)s, %(at)s, %(compressed)s, %(message)s)
ON CONFLICT DO NOTHING;

-- name: insert_word
INSERT INTO lucid.word (session_key, id, at, body)
VALUES (%(session_key)s, %(id)s, %(at)s, %(body)s)
ON CONFLICT DO NOTHING;

-- name: insert_heard
INSERT INTO lucid.word_heard (session_key, word_id, at, body)
VALUES (%(session_key)s, %(word_id)s, %(at)s, %(body)s)
ON CONFLICT DO NOTHING;

-- name: words
SELECT 0 AS seq, w.number, w.body
FROM lucid.word AS w
WHERE
    w.session_key = %(session_key)s
    AND w.number > %(after_number)s
    AND NOT EXISTS (
        SELECT 1 FROM lucid.word_heard AS h
        WHERE h.session_key = w.session_key AND h.word_id = w.id
    )
ORDER BY w.number
LIMIT %(limit)s;

-- name: verdicts
SELECT seq, number, body
FROM lucid.verdict
WHERE
    session_key = %(session_key)s
    AND (seq, number) > (%(after_seq)s, %(after_number)s)
ORDER BY seq, number
LIMIT %(limit)s;

-- name: decisions
SELECT seq, number, body
FROM lucid.decision
WHERE
    session_key = %(session_key)s
    AND (seq, number) > (%(after_seq)s, %(after_number)s)
ORDER BY seq, number
LIMIT %(limit)s;

-- name: decisions_by_prefix
SELECT body FROM lucid.decision
WHERE id COLLATE "C" >= %(prefix)s AND id COLLATE "C" < %(prefix)s || chr(1114111)
ORDER BY id COLLATE "C", session_key
LIMIT %(limit)s;

-- name: outcomes
SELECT seq, number, body
FROM lucid.outcome
WHERE
    session_key = %(session_key)s
    AND (seq, number) > (%(after_seq)s, %(after_number)s)
ORDER BY seq, number
LIMIT %(limit)s;

-- name: intents
SELECT 0 AS seq, number, body
FROM lucid.intent
WHERE session_key = %(session_key)s AND number > %(after_number)s
ORDER BY number
LIMIT %(limit)s;

-- name: incidents
SELECT 0 AS seq, number, body
FROM lucid.incident
WHERE session_key = %(session_key)s AND number > %(after_number)s
ORDER BY number
LIMIT %(limit)s;

-- name: prompts
SELECT uuid, at, compressed, message
FROM lucid.prompt
WHERE session_key = %(session_key)s
ORDER BY number;

-- name: transcripts
SELECT project_key, sdk_session_id, subpath
FROM lucid.transcript
WHERE session_key = %(session_key)s
ORDER BY key;

-- name: restore_session
UPDATE lucid.session
SET
    project_key = %(project_key)s,
    created_at = %(created_at)s,
    updated_at = %(updated_at)s,
    state = %(state)s,
    state_reason = %(state_reason)s,
    head = %(head)s,
    objective = %(objective)s,
    cwd = %(cwd)s,
    policy = %(policy)s,
    submission = %(submission)s,
    last_seq = %(last_seq)s
WHERE key = %(session_key)s;

-- name: restore_transcript
UPDATE lucid.transcript
SET updated_at = %(updated_at)s, summary = coalesce(%(summary)s, summary)
WHERE key = %(transcript_key)s;

-- name: prunable_ids
SELECT id
FROM lucid.session
WHERE
    updated_at < %(before)s
    AND state <> 'queued'
    AND (state NOT IN ('running', 'paused') OR %(unfinished)s)
    AND (lease_until IS NULL OR lease_until <= clock_timestamp())
ORDER BY updated_at, key
LIMIT %(limit)s;

-- name: mark_removal
UPDATE lucid.session
SET state = 'closed', state_reason = %(reason)s
WHERE key = %(session_key)s;

-- name: delete_newest_entries
DELETE FROM lucid.entry
WHERE session_key = %(session_key)s AND seq IN (
    SELECT seq
    FROM lucid.entry
    WHERE session_key = %(session_key)s
    ORDER BY seq DESC
    LIMIT %(limit)s
);

-- name: delete_session
DELETE FROM lucid.session WHERE key = %(session_key)s;

-- name: insert_files
INSERT INTO lucid.files (session_key, snapshot_id, at, body)
VALUES (%(session_key)s, %(snapshot_id)s, %(at)s, %(body)s)
ON CONFLICT DO NOTHING;

-- name: files
SELECT 0 AS seq, number, body
FROM lucid.files
WHERE session_key = %(session_key)s AND number > %(after_number)s
ORDER BY number
LIMIT %(limit)s;

-- name: write_files_chunk
INSERT INTO lucid.files_chunk (session_key, snapshot_id, number, data)
VALUES (%(session_key)s, %(snapshot_id)s, %(number)s, %(data)s)
ON CONFLICT (session_key, snapshot_id, number) DO UPDATE SET data = excluded.data;

-- name: files_chunk
SELECT data FROM lucid.files_chunk
WHERE
    session_key = %(session_key)s AND snapshot_id = %(snapshot_id)s AND number = %(number)s;

-- name: insert_folder
INSERT INTO lucid.folder (name, followed_at)
VALUES (%(name)s, clock_timestamp())
ON CONFLICT DO NOTHING;

-- name: folder
SELECT
    key,
    name,
    followed_at,
    lease_owner AS owner,
    lease_epoch AS epoch,
    lease_until AS expires_at
FROM lucid.folder
WHERE name = %(name)s;

-- name: folder_that_stays
-- Waits for whoever is just taking the folder over, and makes them wait.
SELECT
    key,
    name,
    followed_at,
    lease_owner AS owner,
    lease_epoch AS epoch,
    lease_until AS expires_at
FROM lucid.folder
WHERE name = %(name)s
FOR NO KEY UPDATE;

-- name: live_folders
SELECT
    key,
    name,
    followed_at,
    lease_owner AS owner,
    lease_epoch AS epoch,
    lease_until AS expires_at
FROM lucid.folder
WHERE lease_until > clock_timestamp()
ORDER BY name;

-- name: take_folder
UPDATE lucid.folder
SET
    lease_epoch = lease_epoch + (lease_owner IS DISTINCT FROM %(owner)s)::integer,
    lease_owner = %(owner)s,
    lease_until = clock_timestamp() + %(ttl)s
WHERE
    name = %(name)s
    AND (
        lease_owner = %(owner)s
        OR lease_until IS NULL
        OR lease_until <= clock_timestamp()
    )
RETURNING key;

-- name: extend_folder
UPDATE lucid.folder
SET lease_until = clock_timestamp() + %(ttl)s
WHERE name = %(name)s AND lease_owner = %(owner)s AND lease_epoch = %(epoch)s
RETURNING key;

-- name: put_marks
INSERT INTO lucid.folder_file (folder_key, path, body)
SELECT %(folder_key)s, given.path, given.body
FROM unnest(%(paths)s::text [], %(bodies)s::text []) AS given (path, body)
ON CONFLICT (folder_key, path) DO UPDATE SET body = excluded.body;

-- name: marks
SELECT body FROM lucid.folder_file WHERE folder_key = %(folder_key)s ORDER BY path;

-- name: id_of_sdk_session
SELECT s.id
FROM lucid.transcript AS t INNER JOIN lucid.session AS s ON t.session_key = s.key
WHERE t.project_key = %(project_key)s AND t.sdk_session_id = %(sdk_session_id)s
LIMIT 1;

-- name: live_leases
SELECT id AS session_id, lease_owner AS owner, lease_epoch AS epoch, lease_until AS expires_at
FROM lucid.session
WHERE lease_until > clock_timestamp();
