"""Checkpoints of files in a SQLite store."""

from __future__ import annotations

import msgspec

from supervisor.core.lease import Lease
from supervisor.privacy.keyring import keyring
from supervisor.store.files import FilesRecord
from supervisor.store.sqlite_database import Database

__all__ = ["chunk", "record", "write_chunk"]


def write_chunk(
    db: Database,
    session_id: str,
    snapshot_id: str,
    number: int,
    data: bytes,
    *,
    lease: Lease | None = None,
) -> None:
    """See `Store.write_files`."""
    with db.transaction():
        db.fence(lease, session_id)
        db.run(
            "write_files_chunk",
            session_key=db.session_key(session_id),
            snapshot_id=snapshot_id,
            number=number,
            data=keyring().seal(data),
        )


def chunk(db: Database, kept: FilesRecord, number: int) -> bytes | None:
    """One piece of a checkpoint's content."""
    row = db.run(
        "files_chunk",
        session_key=db.session_key(kept.session_id),
        snapshot_id=kept.snapshot_id,
        number=number,
    ).fetchone()
    return None if row is None else keyring().open(bytes(row["data"]))


def record(db: Database, kept: FilesRecord, *, lease: Lease | None = None) -> None:
    """See `Store.record_files`."""
    with db.transaction():
        db.fence(lease, kept.session_id)
        db.run(
            "insert_files",
            session_key=db.session_key(kept.session_id),
            snapshot_id=kept.snapshot_id,
            at=kept.at,
            body=msgspec.json.encode(kept).decode(),
        )
