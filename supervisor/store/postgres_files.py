"""Checkpoints of files in PostgreSQL."""

from __future__ import annotations

import msgspec

from supervisor.core.lease import Lease
from supervisor.privacy.keyring import keyring
from supervisor.store.files import FilesRecord
from supervisor.store.postgres_query import Database
from supervisor.store.postgres_sessions import fence, session_key

__all__ = ["chunk", "record", "write_chunk"]


async def write_chunk(
    db: Database,
    session_id: str,
    snapshot_id: str,
    number: int,
    data: bytes,
    *,
    lease: Lease | None = None,
) -> None:
    """See `Store.write_files`."""
    await fence(db, lease, [session_id])
    await db.run(
        "write_files_chunk",
        session_key=await session_key(db, session_id),
        snapshot_id=snapshot_id,
        number=number,
        data=keyring().seal(data),
    )


async def chunk(db: Database, kept: FilesRecord, number: int) -> bytes | None:
    """One piece of a checkpoint's content."""
    row = await db.find(
        "files_chunk",
        session_key=await session_key(db, kept.session_id),
        snapshot_id=kept.snapshot_id,
        number=number,
    )
    return None if row is None else keyring().open(bytes(row["data"]))


async def record(db: Database, kept: FilesRecord, *, lease: Lease | None = None) -> None:
    """See `Store.record_files`."""
    await fence(db, lease, [kept.session_id])
    await db.run(
        "insert_files",
        session_key=await session_key(db, kept.session_id),
        snapshot_id=kept.snapshot_id,
        at=kept.at,
        body=msgspec.json.encode(kept).decode(),
    )
