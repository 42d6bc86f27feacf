"""`Reading`: what many agents have just written, read, stored and judged together.

Sessions whose files have grown at about the same time share a round: their files are read one
after the other, what was read is stored in one transaction, and then it is judged. While one
round is stored, another is read or judged. A session that is new here, or has much to be read,
goes its own way and holds up nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import islice

from supervisor.errors import StoreError
from supervisor.metrics import METRICS
from supervisor.runtime.account import store_asked
from supervisor.sidecar.sessions import FollowedSession, Pending
from supervisor.store.interface import Addition, Store, StoredEntry

__all__ = ["Reading"]

_ROUNDS = 2
"""At the same time: one that is stored, and one that is read or judged."""
_MOST_SESSIONS = 256
_MOST_BYTES = 4 * 1024 * 1024
"""In a round, so that the first of it does not wait long for the last."""
_STRETCH_SECONDS = 0.004
"""After so much judging others, hooks before all, have their turn."""

_Result = list[StoredEntry] | Exception


class Reading:
    """Of one folder's sessions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[FollowedSession, None] = {}
        self._news = asyncio.Event()
        self._free = asyncio.Semaphore(_ROUNDS)
        self._rounds: set[asyncio.Task[None]] = set()

    def soon(self, session: FollowedSession) -> None:
        """Files of it may have grown; returns at once."""
        self._waiting[session] = None
        self._news.set()

    async def run(self) -> None:
        """Read until cancelled. What was read by then is stored and judged all the same."""
        try:
            while True:
                await self._news.wait()
                await self._free.acquire()
                if parts := self._read():
                    self._begin(parts)
                else:
                    self._free.release()
                    await asyncio.sleep(0)
        finally:
            self._waiting.clear()
            self._news.clear()
            await asyncio.gather(*self._rounds)

    def _read(self) -> list[Pending]:
        """The parts of the next round, whose sessions are held until they are judged."""
        parts: list[Pending] = []
        size = 0
        for session in list(islice(self._waiting, _MOST_SESSIONS)):
            del self._waiting[session]
            if (found := session.read_part()) is not None:
                parts.append(found)
                size += found.part.size
            if size >= _MOST_BYTES:
                break
        if not self._waiting:
            self._news.clear()
        return parts

    def _begin(self, parts: Sequence[Pending]) -> None:
        task = asyncio.create_task(self._finish(parts))
        self._rounds.add(task)
        task.add_done_callback(self._rounds.discard)

    async def _finish(self, parts: Sequence[Pending]) -> None:
        try:
            results = await self._stored([_addition(pending) for pending in parts])
            since = time.perf_counter()
            for pending, result in zip(parts, results, strict=True):
                await pending.session.took(pending, result)
                if time.perf_counter() - since > _STRETCH_SECONDS:
                    await asyncio.sleep(0)
                    since = time.perf_counter()
        finally:
            self._free.release()

    async def _stored(self, additions: Sequence[Addition]) -> Sequence[_Result]:
        try:
            with store_asked("write"):
                results = await self._store.write_all(additions)
        except Exception as error:  # noqa: BLE001 - each session says what it means to it
            return [error] * len(additions)
        for result in results:
            if isinstance(result, StoreError):
                METRICS.store_errors.labels("write").inc()
        return results


def _addition(pending: Pending) -> Addition:
    session, file, part = pending
    return Addition(
        key=file.key,
        raws=[line.raw for line in part.lines],
        session_id=session.session_id,
        inherited=part.inherited or None,
        offsets=[line.offset for line in part.lines],
        lease=session.lease,
    )
