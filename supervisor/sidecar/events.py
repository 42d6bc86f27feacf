"""`Events`: what is found, decided and comes of it, for whoever listens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from supervisor.runtime.account import Event

__all__ = ["Events", "Missed"]

_WAITING = 1_000
"""Events kept for a subscriber that is slow; then the oldest go."""


@dataclass(frozen=True)
class Missed:
    """A subscriber was too slow: so many events were left out here."""

    count: int


class _Subscriber:
    def __init__(self) -> None:
        self.waiting: deque[Event] = deque()
        self.missed = 0
        self.news = asyncio.Event()

    def tell(self, event: Event | None) -> None:
        if event is not None:
            self.waiting.append(event)
        if len(self.waiting) > _WAITING:
            self.waiting.popleft()
            self.missed += 1
        self.news.set()


class Events:
    """Passes events on to any number of subscribers, and waits for none."""

    def __init__(self) -> None:
        self._subscribers: set[_Subscriber] = set()
        self._is_closed = False

    def tell(self, event: Event) -> None:
        """Pass an event on; returns at once."""
        for subscriber in self._subscribers:
            subscriber.tell(event)

    def close(self) -> None:
        """Nothing follows: the subscribers' streams end."""
        self._is_closed = True
        for subscriber in self._subscribers:
            subscriber.tell(None)

    async def listen(self) -> AsyncIterator[Event | Missed]:
        """The events from now on; begins with the first `anext`."""
        subscriber = _Subscriber()
        self._subscribers.add(subscriber)
        try:
            while subscriber.waiting or not self._is_closed:
                if subscriber.missed:
                    missed, subscriber.missed = subscriber.missed, 0
                    yield Missed(missed)
                while subscriber.waiting:
                    yield subscriber.waiting.popleft()
                subscriber.news.clear()
                if not self._is_closed:
                    await subscriber.news.wait()
        finally:
            self._subscribers.discard(subscriber)
