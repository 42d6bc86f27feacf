"""Who listens is told in order; who is slow is told what was left out, and holds nobody up."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
import pytest

from supervisor.sidecar.events import Events, Missed
from supervisor.store.interface import Incident

pytestmark = pytest.mark.anyio


def incident(number: int) -> Incident:
    return Incident(
        session_id="s", seq=number, at=datetime.now(UTC), source="ingest", message="broken"
    )


async def test_a_slow_listener_is_told_how_much_it_missed() -> None:
    events = Events()
    heard: list[object] = []

    async def listen() -> None:
        async for event in events.listen():
            heard.append(event)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        for number in range(1_200):
            events.tell(incident(number))
        events.close()

    first, *rest = heard
    assert first == Missed(200)
    assert [one.seq for one in rest if isinstance(one, Incident)] == list(range(200, 1_200))


async def test_who_listens_after_the_end_hears_nothing() -> None:
    events = Events()
    events.close()
    assert [event async for event in events.listen()] == []
