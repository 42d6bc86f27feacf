"""How a supervised session begins: afresh, or from a history that is already there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from claude_agent_sdk import ClaudeAgentOptions, SessionKey, project_key_for_directory

from supervisor.core.interruption import Failure
from supervisor.errors import TranscriptError
from supervisor.ingest.lines import Line, read_finished
from supervisor.runtime.fork import local_transcript
from supervisor.runtime.supervision import Supervision
from supervisor.store.codec import encode, identify
from supervisor.store.interface import SessionRow, Store

__all__ = ["DRAINED", "Opening", "take_history", "take_last_words", "where_to_begin"]

DRAINED = "drained"
"""How the reason of a session begins that its worker let go of in good order."""

log = logging.getLogger(__name__)

_PART_LINES = 500
_PART_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Opening:
    """Where a session begins."""

    session_id: str
    """The session, as Lucid and the caller know it."""
    sdk_session_id: str
    """The transcript it begins or goes on in."""
    project_key: str
    options: ClaudeAgentOptions
    """The caller's, made to begin there."""
    resumes: bool
    failure: Failure | None = None
    """How the session's last worker let go of it, where that is on record."""
    is_known: bool = False
    """The session is in the store."""

    @property
    def is_here(self) -> bool:
        """Whether the SDK can resume the transcript by itself: from the caller's session
        store, or from the local file. Else it was written on another host or in another
        folder, and the store alone has it."""
        if not self.resumes or self.options.session_store is not None:
            return True
        return local_transcript(self.project_key, self.sdk_session_id, self.options.env).exists()

    @property
    def key(self) -> SessionKey:
        """The transcript's key in any session store."""
        return SessionKey(project_key=self.project_key, session_id=self.sdk_session_id)


async def where_to_begin(options: ClaudeAgentOptions, store: Store) -> Opening:
    """Settle which session the options begin or resume.

    A session that was rolled back goes on in its newest fork. With `fork_session` the
    SDK makes a new session of its own, and so it is one here.
    """
    project_key = project_key_for_directory(options.cwd)
    resumed = options.resume or await _newest(options, project_key)
    if resumed is None or options.fork_session:
        new = options.session_id or str(uuid4())
        if options.fork_session or not options.continue_conversation:
            options = replace(options, session_id=new)
        return Opening(new, new, project_key, options, resumes=False)
    session_id = head = resumed
    row: SessionRow | None = None
    failure = None
    try:
        row = await store.session(resumed)
    except TranscriptError:
        log.debug("session %s is not in the store: its history is read where it is", resumed)
    else:
        session_id, head = row.session_id, row.head or resumed
        failure = Failure.drained() if row.state_reason.startswith(DRAINED) else None
    options = replace(options, resume=head, continue_conversation=False)
    return Opening(
        session_id,
        head,
        project_key,
        options,
        resumes=True,
        failure=failure,
        is_known=row is not None,
    )


async def _newest(options: ClaudeAgentOptions, project_key: str) -> str | None:
    """The session that `continue_conversation` means, as the SDK would choose it."""
    if not options.continue_conversation:
        return None
    if options.session_store is not None:
        listed = await options.session_store.list_sessions(project_key)
        newest = max(listed, key=lambda session: session["mtime"], default=None)
        return newest["session_id"] if newest else None
    folder = local_transcript(project_key, "any", options.env).parent
    files = [file for file in folder.glob("*.jsonl") if not file.name.startswith("agent-")]
    return max(files, key=_modified).stem if files else None


def _modified(file: Path) -> float:
    return os.stat(file).st_mtime


async def take_history(opening: Opening, supervision: Supervision) -> None:
    """Bring the resumed transcript's earlier entries into the store, where they are not
    there yet, and prime the detectors with all of them."""
    await supervision.prime(opening.sdk_session_id)
    newer = _newer(await _history(opening), supervision.progress.newest(opening.sdk_session_id))
    for part in _parts(newer):
        await supervision.take(opening.key, part, inherited=True)


async def take_last_words(opening: Opening, sdk_session_id: str, supervision: Supervision) -> None:
    """Bring into the store what the local file of a transcript holds and the mirror of a
    process that is gone did not pass on."""
    path = local_transcript(opening.project_key, sdk_session_id, opening.options.env)
    newest = supervision.progress.newest(sdk_session_id)
    if newest is None or opening.options.session_store is not None or not path.exists():
        return
    key = SessionKey(project_key=opening.project_key, session_id=sdk_session_id)
    for part in _parts(_newer(_lines(path), newest)):
        await supervision.take(key, part)


async def _history(opening: Opening) -> Iterable[bytes]:
    store = opening.options.session_store
    if store is not None:
        entries = await store.load(opening.key)
        return (encode(entry) for entry in entries or [])
    path = local_transcript(opening.project_key, opening.sdk_session_id, opening.options.env)
    return _lines(path)


def _lines(path: Path) -> Iterator[bytes]:
    return (item.raw for item in read_finished(path) if isinstance(item, Line))


def _parts(raws: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Some at a time: a history may be longer than memory has room for."""
    part: list[bytes] = []
    size = 0
    for raw in raws:
        part.append(raw)
        size += len(raw)
        if len(part) >= _PART_LINES or size >= _PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _newer(raws: Iterable[bytes], newest: str | None) -> Iterable[bytes]:
    """Those that are not stored yet. Behind the newest stored uuid, entries without one
    are left out: they cannot be told from the same ones mirrored, and hold bookkeeping."""
    if newest is None:
        return raws
    newer: list[bytes] | None = None
    for raw in raws:
        uuid = identify(raw).uuid
        if uuid == newest:
            newer = []
        elif uuid is not None and newer is not None:
            newer.append(raw)
    return newer or []
