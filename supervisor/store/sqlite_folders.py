"""Followed folders in a SQLite store; see `supervisor.store.folders`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from supervisor.core.lease import Lease
from supervisor.store import refusal
from supervisor.store.folders import FileMark, Folder
from supervisor.store.rows import decoded, folder_row
from supervisor.store.sqlite_database import Database
from supervisor.store.sqlite_rows import after, columns_of, now

__all__ = [
    "acquire",
    "folder",
    "keep_marks",
    "live_folders",
    "live_leases",
    "marks",
    "release",
    "renew",
    "session_of",
]


def acquire(db: Database, name: str, *, owner: str, ttl: timedelta) -> Folder:
    """See `Store.acquire_folder`."""
    with db.transaction():
        db.run("insert_folder", name=name, now=now())
        taken = db.run("take_folder", name=name, owner=owner, now=now(), until=after(ttl))
        found = _folder(db, name)
    if not taken.rowcount:
        assert found.lease is not None, "it would have been taken"
        raise refusal.folder_held(found.lease)
    return found


def renew(db: Database, lease: Lease, *, ttl: timedelta) -> Folder:
    """See `Store.renew_folder`."""
    with db.transaction():
        if not _extend(db, lease, after(ttl)):
            raise refusal.folder_lost(lease)
        return _folder(db, lease.session_id)


def release(db: Database, lease: Lease) -> None:
    """See `Store.release_folder`."""
    with db.transaction():
        _extend(db, lease, now())


def _extend(db: Database, lease: Lease, until: int) -> bool:
    extended = db.run(
        "extend_folder", name=lease.session_id, owner=lease.owner, epoch=lease.epoch, until=until
    )
    return extended.rowcount > 0


def folder(db: Database, name: str) -> Folder | None:
    """See `Store.folder`."""
    row = _row(db, name)
    return None if row is None else folder_row(columns_of(row))


def _folder(db: Database, name: str) -> Folder:
    found = folder(db, name)
    assert found is not None
    return found


def _row(db: Database, name: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.run("folder", name=name).fetchone()
    return row


def keep_marks(db: Database, marks: Sequence[FileMark], *, lease: Lease) -> None:
    """See `Store.keep_marks`."""
    with db.transaction():
        row = _row(db, lease.session_id)
        if row is None or (row["owner"], row["epoch"]) != (lease.owner, lease.epoch):
            raise refusal.folder_lost(lease)
        for mark in marks:
            body = msgspec.json.encode(mark).decode()
            db.run("put_mark", folder_key=row["key"], path=mark.path, body=body)


def marks(db: Database, name: str) -> list[FileMark]:
    """See `Store.marks`."""
    row = _row(db, name)
    if row is None:
        return []
    found = db.run("marks", folder_key=row["key"])
    return [decoded(each, FileMark) for each in found]


def live_folders(db: Database) -> list[Folder]:
    """See `Store.live_folders`."""
    return [folder_row(columns_of(row)) for row in db.run("live_folders", now=now())]


def live_leases(db: Database) -> list[Lease]:
    """See `Store.live_leases`."""
    return [Lease(**columns_of(row)) for row in db.run("live_leases", now=now())]


def session_of(db: Database, project_key: str, sdk_session_id: str) -> str | None:
    """See `Store.session_of`."""
    found = db.run("id_of_sdk_session", project_key=project_key, sdk_session_id=sdk_session_id)
    row = found.fetchone()
    return None if row is None else str(row["id"])
