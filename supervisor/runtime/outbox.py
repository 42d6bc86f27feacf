"""`Outbox`: what the caller reads, in order: the SDK's messages and Lucid's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from claude_agent_sdk import Message

__all__ = ["Outbox"]

_READ_AHEAD = 100
"""SDK messages held for a slow caller before the agent is held back; the SDK's figure."""


class Outbox:
    """One stream for one reader. Lucid's messages never wait for the reader; the SDK's
    do, so that a caller who reads slowly holds the agent back as without Lucid."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[Message | Exception | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(_READ_AHEAD)
        self._own: set[int] = set()

    async def put(self, message: Message) -> None:
        """Add one of the SDK's messages, once there is room."""
        await self._room.acquire()
        self._items.put_nowait(message)

    def tell(self, message: Message) -> None:
        """Add one of Lucid's messages."""
        self._own.add(id(message))
        self._items.put_nowait(message)

    def end(self, error: Exception | None = None) -> None:
        """Nothing follows; the reader is raised `error`, if there is one."""
        self._items.put_nowait(error)

    async def read(self) -> AsyncIterator[Message]:
        """The messages until the end."""
        while (item := await self._items.get()) is not None:
            if isinstance(item, Exception):
                self._items.put_nowait(None)  # a second reader ends, as the SDK's does
                raise item
            if id(item) in self._own:
                self._own.discard(id(item))
            else:
                self._room.release()
            yield item
        self._items.put_nowait(None)
