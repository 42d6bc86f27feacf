"""`Readiness`: why a process cannot do its work just now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from supervisor.errors import StoreError
from supervisor.store.interface import Store

__all__ = ["Readiness"]

_WITHIN_SECONDS = 2.0
"""For the store to answer: a kubelet waits for its probe as long as it is told, by default 1 s,
and asks again."""
_KEEP_SECONDS = 1.0
"""Anybody may ask; the store is asked no more often than this."""


class Readiness:
    """Asks the store, and whoever else knows."""

    def __init__(
        self, store: Store, others: Callable[[], tuple[str, ...]], *, keep: float = _KEEP_SECONDS
    ) -> None:
        self._store = store
        self._others = others
        self._keep = keep
        self._asked = -keep
        self._lack: str | None = None
        self._lock = asyncio.Lock()

    async def reasons(self) -> tuple[str, ...]:
        """Why not, in sentences; empty where it is ready."""
        others = self._others()
        async with self._lock:
            if time.monotonic() - self._asked >= self._keep:
                self._lack = await self._lacking()
                self._asked = time.monotonic()
        # What a store says of itself may name its host and user: not for everybody's ears.
        away = (self._lack,) if self._lack else ()
        return (*others, *(reason for reason in away if reason not in others))

    async def _lacking(self) -> str | None:
        try:
            async with asyncio.timeout(_WITHIN_SECONDS):
                await self._store.sessions(limit=1)
        except StoreError:
            return "the store is away"
        except TimeoutError:
            return "the store does not answer"
        return None
