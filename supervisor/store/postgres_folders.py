"""Followed folders in PostgreSQL; see `supervisor.store.folders`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from supervisor.core.lease import Lease
from supervisor.store import refusal
from supervisor.store.folders import FileMark, Folder
from supervisor.store.postgres_query import Database
from supervisor.store.rows import decoded, folder_row

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

_NOW = timedelta(0)


async def acquire(db: Database, name: str, *, owner: str, ttl: timedelta) -> Folder:
    """See `Store.acquire_folder`."""
    await db.run("insert_folder", name=name)
    taken = await db.find("take_folder", name=name, owner=owner, ttl=ttl)
    found = await folder(db, name)
    assert found is not None
    if taken is None:
        assert found.lease is not None, "it would have been taken"
        raise refusal.folder_held(found.lease)
    return found


async def renew(db: Database, lease: Lease, *, ttl: timedelta) -> Folder:
    """See `Store.renew_folder`."""
    found = await folder(db, lease.session_id) if await _extend(db, lease, ttl) else None
    if found is None:
        raise refusal.folder_lost(lease)
    return found


async def release(db: Database, lease: Lease) -> None:
    """See `Store.release_folder`."""
    await _extend(db, lease, _NOW)


async def _extend(db: Database, lease: Lease, ttl: timedelta) -> bool:
    extended = await db.find(
        "extend_folder", name=lease.session_id, owner=lease.owner, epoch=lease.epoch, ttl=ttl
    )
    return extended is not None


async def folder(db: Database, name: str) -> Folder | None:
    """See `Store.folder`."""
    row = await db.find("folder", name=name)
    return None if row is None else folder_row(row)


async def keep_marks(db: Database, marks: Sequence[FileMark], *, lease: Lease) -> None:
    """See `Store.keep_marks`."""
    row = await db.find("folder_that_stays", name=lease.session_id)
    if row is None or (row["owner"], row["epoch"]) != (lease.owner, lease.epoch):
        raise refusal.folder_lost(lease)
    newest = {mark.path: msgspec.json.encode(mark).decode() for mark in marks}
    await db.run(
        "put_marks", folder_key=row["key"], paths=list(newest), bodies=list(newest.values())
    )


async def marks(db: Database, name: str) -> list[FileMark]:
    """See `Store.marks`."""
    row = await db.find("folder", name=name)
    if row is None:
        return []
    found = await db.all("marks", folder_key=row["key"])
    return [decoded(each, FileMark) for each in found]


async def live_folders(db: Database) -> list[Folder]:
    """See `Store.live_folders`."""
    return [folder_row(row) for row in await db.all("live_folders")]


async def live_leases(db: Database) -> list[Lease]:
    """See `Store.live_leases`."""
    return [Lease(**row) for row in await db.all("live_leases")]


async def session_of(db: Database, project_key: str, sdk_session_id: str) -> str | None:
    """See `Store.session_of`."""
    row = await db.find("id_of_sdk_session", project_key=project_key, sdk_session_id=sdk_session_id)
    return None if row is None else str(row["id"])
