"""`FileShelf`: a session's checkpoints of files, kept in its store and brought from there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from supervisor.core.lease import Lease
from supervisor.errors import FilesError
from supervisor.files.checkpoints import FileCheckpoints
from supervisor.files.model import FileSnapshot
from supervisor.store.files import FilesRecord
from supervisor.store.interface import Store

__all__ = ["MOST_BYTES", "FileShelf", "snapshot_of"]

MOST_BYTES = 128 * 1024 * 1024
"""Content that is kept for one session. It is compressed: the first checkpoint of 5,000
source files of 8 KB took 0.4 MB, and each later one what changed."""


class _Kept(msgspec.Struct):
    chunks: int = 0
    size: int = 0
    since: str | None = None


class FileShelf:
    """The records of one session's checkpoints, newest last, and their content."""

    def __init__(
        self,
        store: Store,
        session_id: str,
        checkpoints: FileCheckpoints,
        *,
        lease: Callable[[], Lease | None],
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.records: list[FilesRecord] = []
        self.is_full = False
        """Whether a checkpoint's content was not kept, for want of room."""
        self._store = store
        self._session_id = session_id
        self._checkpoints = checkpoints
        self._lease = lease
        self.most_bytes = most_bytes

    async def load(self) -> None:
        """Read what was recorded so far."""
        self.records = await self._store.files(self._session_id)

    async def put(self, snapshot: FileSnapshot, *, seq: int, after_call: str | None) -> None:
        """Record a checkpoint that was just taken, with its content unless that is kept
        already. Raises `StoreError` or `FilesError`; it is known to `records` even so."""
        record = FilesRecord(
            session_id=self._session_id,
            snapshot_id=snapshot.id,
            snapshot=msgspec.Raw(msgspec.json.encode(snapshot)),
            at=datetime.now(UTC),
            seq=seq,
            after_call=after_call,
            host=socket.gethostname(),
        )
        self.records.append(record)
        if snapshot.id not in self._contents() and not self.is_full:
            kept = await self._keep(snapshot)
            record = msgspec.structs.replace(
                record, chunks=kept.chunks, bytes=kept.size, since=kept.since
            )
            self.records[-1] = record
        await self._store.record_files(record, lease=self._lease())

    async def bring(self, record: FilesRecord) -> FileSnapshot:
        """Have a recorded checkpoint in the folder's own store, from wherever it was taken.

        Raises `FilesError` where its content, or what that builds on, was not kept.
        """
        chain: list[FilesRecord] = []
        contents = self._contents()
        wanted: str | None = record.snapshot_id
        while wanted is not None and not await self._checkpoints.has(wanted):
            if wanted not in contents:
                raise FilesError(
                    f"the checkpoint of files {wanted} was taken on {record.host} and is not in "
                    "the session's store, for want of room or because its worker ended first"
                )
            chain.append(contents[wanted])
            wanted = chain[-1].since
        for link in reversed(chain):
            await self._checkpoints.import_(self._store.read_files(link))
        return snapshot_of(record)

    def _contents(self) -> dict[str, FilesRecord]:
        return {record.snapshot_id: record for record in self.records if record.chunks}

    async def _keep(self, snapshot: FileSnapshot) -> _Kept:
        contents = self._contents()
        base = next((r for r in reversed(self.records) if r.snapshot_id in contents), None)
        if base is not None and await self._checkpoints.has(base.snapshot_id):
            return await self._write(snapshot, snapshot_of(base))
        return await self._write(snapshot, None)

    async def _write(self, snapshot: FileSnapshot, since: FileSnapshot | None) -> _Kept:
        room = self.most_bytes - sum(record.bytes for record in self.records)
        kept = _Kept(since=since.id if since is not None else None)
        async for data in self._checkpoints.export(snapshot, since):
            if kept.size + len(data) > room:
                self.is_full = True
                break
            await self._write_chunk(snapshot, kept.chunks, data)
            kept.chunks += 1
            kept.size += len(data)
        if not self.is_full:
            return kept
        for number in range(kept.chunks):
            await self._write_chunk(snapshot, number, b"")
        return _Kept()

    async def _write_chunk(self, snapshot: FileSnapshot, number: int, data: bytes) -> None:
        await self._store.write_files(
            self._session_id, snapshot.id, number, data, lease=self._lease()
        )


def snapshot_of(record: FilesRecord) -> FileSnapshot:
    """The snapshot that was recorded."""
    return msgspec.json.decode(record.snapshot, type=FileSnapshot)
