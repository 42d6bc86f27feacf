"""Sessions to files and back, whichever store keeps them."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, cast
from uuid import uuid4

import msgspec

from supervisor.core.decision import Decision
from supervisor.core.lease import Lease
from supervisor.core.outcome import Outcome
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.errors import StoreError, TranscriptError
from supervisor.privacy.redaction import Redactor
from supervisor.store.archive_format import (
    End,
    Header,
    Item,
    encode_item,
    header_of,
    read_archive,
    write_line,
)
from supervisor.store.interface import Incident, SessionRow, Store, StoredEntry
from supervisor.store.parts import START, Position

__all__ = ["Moved", "export_session", "import_session"]

_BATCH_ITEMS = 500
_BATCH_BYTES = 4 * 1024 * 1024
_TTL = timedelta(seconds=60)

_Concluded = Verdict | Decision | Outcome | Incident
_CONCLUDED: tuple[type[_Concluded], ...] = (Verdict, Decision, Outcome, Incident)
_LEVEL = 6
_UNFINISHED = "an import of this session has not finished; import its file again"
_ALL = Redactor(on=False)
_ENDED = "imported; it was {state} in the store that it was exported from"


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What was exported or imported."""

    session_id: str
    entries: int
    new: bool = True
    """False where the session was there already, the same."""
    redacted: int = 0
    """In how many lines of an export secrets were left out."""


# Export


async def export_session(
    store: Store, session_id: str, file: BinaryIO, *, redactor: Redactor = _ALL
) -> Moved:
    """Write a session to `file`, as it stands; what is added meanwhile is left out, and so is
    what `redactor` takes for a secret.

    Holds some megabytes at a time. Equal sessions make equal files. Raises
    `TranscriptError` where there is no such session.
    """
    row = await store.session(session_id)
    header = header_of(row, await store.transcripts(row.session_id), redacted=redactor.on)
    numbers = {
        (one.project_key, one.session_id, one.subpath): number
        for number, one in enumerate(header.transcripts)
    }
    entries = redacted = 0
    lines = 1
    with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
        out = cast("BinaryIO", packed)
        redacted += write_line(header, out, redactor)
        async for items in _batches(store, row):
            redacted += await asyncio.to_thread(_write, items, numbers, out, redactor)
            entries += sum(isinstance(item, StoredEntry) for item in items)
            lines += len(items)
        write_line(End(lines=lines), out, redactor)
    return Moved(session_id=row.session_id, entries=entries, redacted=redacted)


def _write(
    items: list[Item],
    numbers: dict[tuple[str, str, str], int],
    out: BinaryIO,
    redactor: Redactor,
) -> int:
    return sum(write_line(encode_item(item, numbers), out, redactor) for item in items)


async def _batches(store: Store, row: SessionRow) -> AsyncIterator[list[Item]]:
    batch: list[Item] = []
    size = 0
    async for entry in store.entries(row.session_id):
        if entry.seq > row.entries:
            break
        batch.append(entry)
        size += len(entry.raw)
        if len(batch) >= _BATCH_ITEMS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch
    yield list(await store.intents(row.session_id))
    yield list(await store.prompts(row.session_id))
    for kind in _CONCLUDED:
        async for items in _parts_of(kind, store, row.session_id):
            yield items


async def _parts_of(
    kind: type[_Concluded], store: Store, session_id: str
) -> AsyncIterator[list[Item]]:
    after: Position | None = START
    while after is not None:
        part = await store.recorded(kind, session_id, after=after, limit=_BATCH_ITEMS)
        yield list(part.items)
        after = part.end


# Import


async def import_session(store: Store, path: Path) -> Moved:
    """Put the session in a file of `export_session` into a store, all of it or nothing.

    The file is read twice: it is sound as a whole before anything is written. A session that
    was queued or running comes back as a closed one, so that nothing starts by itself.
    An import that was killed leaves a session that says so; importing again replaces it.

    Raises `TranscriptError` where the file is not sound, or where the session is there
    already and not the same.
    """
    header = await asyncio.to_thread(_checked, path)
    there = await _exactly(store, header.session_id)
    if there is not None and not _is_left_over(there):
        return await _compare(store, header, path)
    if there is not None:
        await store.delete_session(await _hold(store, header.session_id))
    await store.create_session(
        header.session_id,
        project_key=header.project_key,
        state=SessionState.CLOSED,
    )
    lease = await _hold(store, header.session_id)
    try:
        entries = await _fill(store, header, path, lease)
    except BaseException:
        with suppress(StoreError, TranscriptError):
            await asyncio.shield(store.delete_session(lease))
        raise
    await store.release_lease(lease)
    return Moved(session_id=header.session_id, entries=entries)


def _checked(path: Path) -> Header:
    """The first line of a file that is sound to its end."""
    found = read_archive(path)
    header, _ = next(found)
    assert isinstance(header, Header), "the first line is one, or refused"
    for _ in found:
        pass
    return header


async def _exactly(store: Store, session_id: str) -> SessionRow | None:
    """The session of this id, and of no id that begins so."""
    try:
        row = await store.session(session_id)
    except TranscriptError:
        return None
    return row if row.session_id == session_id else None


def _is_left_over(row: SessionRow) -> bool:
    """Whether this is what a killed import left."""
    begun = not row.entries and row.head is None and row.state is SessionState.CLOSED
    return begun or row.state_reason == _UNFINISHED


async def _hold(store: Store, session_id: str) -> Lease:
    owner = f"{socket.gethostname()}/{os.getpid()} (import {uuid4().hex[:8]})"
    return await store.acquire_lease(session_id, owner=owner, ttl=_TTL)


async def _fill(store: Store, header: Header, path: Path, lease: Lease) -> int:
    row = header.row
    unfinished = msgspec.structs.replace(
        row, state=SessionState.CLOSED, state_reason=_UNFINISHED, entries=0
    )
    await store.restore(unfinished, lease=lease)
    keys = header.keys
    for start in range(0, len(keys), _BATCH_ITEMS):
        part_of_keys = keys[start : start + _BATCH_ITEMS]
        await store.restore(unfinished, transcripts=part_of_keys, lease=lease)
    count = 0
    parts = _parts(path)
    while part := await asyncio.to_thread(next, parts, None):
        entries = [item for item in part if isinstance(item, StoredEntry)]
        records = [item for item in part if not isinstance(item, StoredEntry)]
        if entries:
            count += len(entries)
            unfinished = msgspec.structs.replace(unfinished, entries=entries[-1].seq)
            await store.restore(unfinished, entries=entries, lease=lease)
        await store.record(*records, lease=lease)
        await store.renew_lease(lease, ttl=_TTL)
    await store.restore(_at_rest(row), lease=lease)
    return count


def _parts(path: Path) -> Iterator[list[Item]]:
    """What a file holds behind its first line, some at a time."""
    found = read_archive(path)
    next(found)
    part: list[Item] = []
    size = 0
    for item, length in found:
        assert not isinstance(item, Header), "a second one is refused"
        part.append(item)
        size += length
        if len(part) >= _BATCH_ITEMS or size >= _BATCH_BYTES:
            yield part
            part, size = [], 0
    yield part


def _at_rest(row: SessionRow) -> SessionRow:
    """The session so that no worker takes it by itself."""
    if row.state not in (SessionState.QUEUED, SessionState.RUNNING):
        return row
    reason = _ENDED.format(state=row.state)
    return msgspec.structs.replace(row, state=SessionState.CLOSED, state_reason=reason)


async def _compare(store: Store, header: Header, path: Path) -> Moved:
    """Refuse a session that is there, unless its entries are those of the file."""
    count = 0
    there = store.entries(header.session_id)
    parts = _parts(path)
    while part := await asyncio.to_thread(next, parts, None):
        for entry in part:
            if not isinstance(entry, StoredEntry):
                continue
            if await anext(there, None) != entry:
                raise _differs(header, f"entry {entry.seq} is another or missing")
            count += 1
    if await anext(there, None) is not None:
        raise _differs(header, f"it has more than {count} entries")
    return Moved(session_id=header.session_id, entries=count, new=False)


def _differs(header: Header, how: str) -> TranscriptError:
    if header.redacted:
        how += ", as secrets were left out of the file ('lucid export --raw' keeps them)"
    return TranscriptError(
        f"session {header.session_id!r} is in the store already and not the same: {how}; "
        "nothing was imported: use another --store"
    )
