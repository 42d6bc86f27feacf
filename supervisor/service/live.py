"""`Live`: events as they come, for any number of listeners, as server-sent events."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from supervisor.runtime.account import Event
from supervisor.service.leaving import Leaving
from supervisor.service.parts import Source
from supervisor.service.problem import Refused
from supervisor.sidecar.events import Missed

__all__ = ["KEPT", "LISTENERS", "Live"]

log = logging.getLogger(__name__)

KEPT: Final = 2_000
"""Newest events that a listener who was slow, or away, can still have."""
LISTENERS: Final = 100
HEARTBEAT_SECONDS: Final = 15.0
"""Less than the shortest time after which proxies cut what is silent (commonly 30 s)."""

_BEGIN = b"retry: 3000\n\n"
_BEAT = b": still here\n\n"


class _Kept:
    """One event; it is put into bytes when somebody first wants it."""

    __slots__ = ("event", "frame", "number")

    def __init__(self, number: int, event: Event | Missed) -> None:
        self.number = number
        self.event = event
        self.frame: bytes | None = None


class Live:
    """Takes events from one source and keeps the newest; a listener reads them at its own
    pace, and is told how many it missed where it is too slow."""

    def __init__(
        self, leaving: Leaving, *, kept: int = KEPT, heartbeat: float = HEARTBEAT_SECONDS
    ) -> None:
        self.listeners = 0
        self._leaving = leaving
        self._heartbeat = heartbeat
        self._ring: list[_Kept | None] = [None] * kept
        self._next = 0
        self._process = secrets.token_hex(4)
        self._news = asyncio.Event()
        self._closed = False

    async def follow(self, source: Source) -> None:
        """Take the source's events until there are no more."""
        try:
            async for event in source.events():
                self.add(event)
        finally:
            self.close()

    def add(self, event: Event | Missed) -> None:
        """An event has happened."""
        self._ring[self._next % len(self._ring)] = _Kept(self._next, event)
        self._next += 1
        self._wake()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._wake()

    def stream(self, last_id: str | None, session_id: str | None = None) -> AsyncIterator[bytes]:
        """Events of one session, or all, as they come; those after `last_id` first, where it
        names one that is kept. Raises `Refused` where too many listen."""
        if self.listeners >= LISTENERS:
            raise Refused(503, f"{LISTENERS} listen already", {"retry-after": "30"})
        return self._stream(last_id, session_id)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _stream(self, last_id: str | None, session_id: str | None) -> AsyncIterator[bytes]:
        self.listeners += 1
        try:
            yield _BEGIN
            place = self._place_after(last_id)
            if place is None:  # before a restart: nobody knows how many
                yield _frame(None, "missed", {"count": None})
                place = self._next
            while True:
                news = self._news
                oldest = max(0, self._next - len(self._ring))
                if place < oldest:
                    yield _frame(None, "missed", {"count": oldest - place})
                    place = oldest
                if place < self._next:
                    frame = self._frame_at(place, session_id)
                    place += 1
                    if frame is not None:
                        yield frame
                elif self._closed:
                    return
                elif not await _comes(news, self._heartbeat):
                    yield _BEAT
        finally:
            self.listeners -= 1

    def _place_after(self, last_id: str | None) -> int | None:
        if last_id is None:
            return self._next
        process, _, number = last_id.partition("-")
        if process != self._process or not (number.isascii() and number.isdecimal()):
            return None
        return min(int(number[:16]) + 1, self._next)

    def _frame_at(self, place: int, session_id: str | None) -> bytes | None:
        kept = self._ring[place % len(self._ring)]
        assert kept is not None, "every place up to the next is filled"
        event = kept.event
        if not isinstance(event, Missed) and session_id not in (None, event.session_id):
            return None
        if kept.frame is None:
            kept.frame = self._framed(kept)
        return kept.frame

    def _framed(self, kept: _Kept) -> bytes:
        identity = f"{self._process}-{kept.number}"
        if isinstance(kept.event, Missed):
            return _frame(identity, "missed", {"count": kept.event.count})
        name = type(kept.event).__name__.lower()
        return _frame(identity, name, self._leaving.value(kept.event))


def _frame(identity: str | None, name: str, data: object) -> bytes:
    """One event as the stream has it; JSON holds no line break."""
    head = f"id: {identity}\n" if identity is not None else ""
    return f"{head}event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


async def _comes(news: asyncio.Event, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            await news.wait()
    except TimeoutError:
        return False
    return True
