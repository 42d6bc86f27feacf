"""Events as they come: to whom, from where on, and how much is kept for the slow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from supervisor.service import live as live_module
from tests.unit.service.conftest import (
    BEARER,
    Running,
    Start,
    decision,
    outcome,
    verdict,
    written,
)

pytestmark = pytest.mark.anyio

KEY = "ghp_0123456789abcdefghijABCDEFGHIJ012345"


class Listener:
    """Reads a stream, event by event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def block(self) -> dict[str, str]:
        """The next block of lines, by field; a comment's field is empty."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(5):
            while (read := await self._response.content.readline()) not in (b"\n", b""):
                name, _, value = read.decode().rstrip("\n").partition(": ")
                fields[name] = value
        return fields

    async def event(self) -> tuple[str, Any]:
        """The next event's name and data."""
        block = await self.block()
        return block["event"], json.loads(block["data"])


@asynccontextmanager
async def listening(
    running: Running, path: str = "/api/v1/events", **headers: str
) -> AsyncIterator[Listener]:
    async with running.client.get(path, headers={**BEARER, **headers}) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        listener = Listener(response)
        assert await listener.block() == {"retry": "3000"}
        yield listener


async def test_events_come_as_they_happen_without_secrets(running: Running) -> None:
    async with listening(running) as listener:
        running.source.queue.put_nowait(verdict(summary=f"It prints {KEY}."))
        running.source.queue.put_nowait(decision())
        running.source.queue.put_nowait(outcome())

        name, data = await listener.event()
        assert (name, data["detector"]) == ("verdict", "loop")
        assert data["summary"] == "It prints [redacted:github-token]."
        assert [(await listener.event())[0] for _ in range(2)] == ["decision", "outcome"]


async def test_a_sessions_stream_has_its_own_events_only(running: Running) -> None:
    await written(running.store, [{"type": "user"}], "sdk-1")
    async with listening(running, "/api/v1/sessions/sdk-1/events") as listener:
        running.live.add(verdict(1, "sdk-2"))
        running.live.add(verdict(2, "sdk-1"))

        assert (await listener.event())[1]["seq"] == 2


async def test_a_client_that_was_away_gets_what_it_missed(running: Running) -> None:
    async with listening(running) as listener:
        running.live.add(verdict(1))
        last = (await listener.block())["id"]
    running.live.add(verdict(2))
    running.live.add(verdict(3))

    async with listening(running, **{"Last-Event-ID": last}) as listener:
        assert [(await listener.event())[1]["seq"] for _ in range(2)] == [2, 3]


async def test_a_client_that_was_away_for_long_is_told_how_many_are_gone(start: Start) -> None:
    running = await start(kept=3)
    async with listening(running) as listener:
        running.live.add(verdict(1))
        last = (await listener.block())["id"]
    for seq in range(2, 8):
        running.live.add(verdict(seq))

    async with listening(running, **{"Last-Event-ID": last}) as listener:
        assert await listener.event() == ("missed", {"count": 3})
        assert (await listener.event())[1]["seq"] == 5


@pytest.mark.parametrize("last", ["another-7", "x", "", "another-"])
async def test_a_client_from_before_a_restart_is_told_so(running: Running, last: str) -> None:
    async with listening(running, **{"Last-Event-ID": last}) as listener:
        assert await listener.event() == ("missed", {"count": None})
        running.live.add(verdict(9))
        assert (await listener.event())[1]["seq"] == 9


async def test_a_silent_stream_shows_that_it_is_there(start: Start) -> None:
    running = await start(heartbeat=0.01)
    async with listening(running) as listener:
        assert await listener.block() == {"": "still here"}


async def test_a_client_that_leaves_is_forgotten(start: Start) -> None:
    running = await start(heartbeat=0.01)
    async with listening(running):
        assert running.live.listeners == 1
    for _ in range(500):  # until the service sees that the connection is closed
        if running.live.listeners:
            await asyncio.sleep(0.01)
    assert running.live.listeners == 0


async def test_more_listeners_than_there_is_room_for_are_refused(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "LISTENERS", 1)
    async with listening(running):
        status, problem = await running.get("/api/v1/events")
        assert (status, problem["title"]) == (503, "Service Unavailable")


async def test_streams_end_with_their_source(running: Running) -> None:
    async with listening(running) as listener:
        running.source.queue.put_nowait(verdict())
        running.source.queue.put_nowait(None)

        assert (await listener.event())[0] == "verdict"
        assert await listener.block() == {}
