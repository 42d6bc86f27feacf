"""For tests of stores that are away: what waits for them, and who hears of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from claude_agent_sdk import SessionKey

from supervisor.core.lease import Lease
from supervisor.errors import LeaseLost, StoreError
from supervisor.store.interface import Store, StoredEntry
from supervisor.store.spool import SpooledStore, SpoolListener

__all__ = ["KEY", "LONG", "Heard", "held", "kept", "locked", "raw", "spooled"]

KEY = SessionKey(project_key="p", session_id="s")
LONG = timedelta(hours=1)


@dataclass
class Heard(SpoolListener):
    """What a listener hears."""

    away: list[StoreError] = field(default_factory=list)
    back: list[int] = field(default_factory=list)
    losses: list[tuple[LeaseLost, Path | None]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    waiting: int = 0
    was_left: bool = False

    def went_away(self, error: StoreError) -> None:
        self.away.append(error)

    def waits(self, change: int) -> None:
        self.waiting += change

    def came_back(self, after: timedelta, operations: int) -> None:
        self.back.append(operations)

    def left(self) -> None:
        self.was_left = True

    def lost(self, error: LeaseLost, where: Path | None) -> None:
        self.losses.append((error, where))

    def refused(self, session_id: str, message: str) -> None:
        self.refusals.append(message)


@asynccontextmanager
async def spooled(
    inner: Store, folder: Path, heard: SpoolListener | None = None, *, brief: float = 0.05
) -> AsyncIterator[SpooledStore]:
    """A store of its own around an open one; it waits for nothing longer than `brief`."""
    soon = timedelta(seconds=brief)
    store = SpooledStore(
        inner, folder, lent=True, listener=heard, look_within=soon, leave_within=soon
    )
    async with store:
        yield store


async def held(store: Store, session_id: str = "s", owner: str = "one") -> Lease:
    """The session, made and taken."""
    await store.create_session(session_id, project_key="p")
    return await store.acquire_lease(session_id, owner=owner, ttl=LONG)


def raw(uuid: str | None = None, **fields: object) -> bytes:
    """An entry."""
    return json.dumps({"type": "x", **fields} if uuid is None else {"uuid": uuid}).encode()


async def kept(store: Store, session_id: str = "s") -> list[StoredEntry]:
    """The entries of a session."""
    return [entry async for entry in store.entries(session_id)]


@contextmanager
def locked(path: Path | None) -> Iterator[None]:
    """An SQLite store that another process holds."""
    db = sqlite3.connect(str(path), isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()
