"""Old sessions are deleted with all that belongs to them, and nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from claude_agent_sdk import SessionKey

from supervisor.core.intent import Intent
from supervisor.core.lease import Lease
from supervisor.core.sent import SentPrompt
from supervisor.core.session import SessionState
from supervisor.errors import LeaseHeld, LeaseLost, TranscriptError
from supervisor.store import interface
from supervisor.store.interface import Incident, Removed, Store

if TYPE_CHECKING:
    from tests.store.conftest import Backend

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
LONG = timedelta(hours=1)
OVER = timedelta(0)


async def _aged(
    store: Store, name: str, days: int, state: SessionState = SessionState.REACHED, entries: int = 3
) -> None:
    """A session last changed so many days ago."""
    key = SessionKey(project_key="p", session_id=name)
    await store.write(key, [b'{"n":%d}' % number for number in range(entries)])
    await store.write(SessionKey(**key, subpath="subagents/agent-a"), [b"{}"])
    await store.record(
        Intent(session_id=name, call_id="c", tool="T", at=NOW),
        Incident(session_id=name, at=NOW, source="store", message="m"),
        SentPrompt(session_id=name, uuid="u", at=NOW, message=msgspec.Raw(b"{}")),
    )
    row = await store.session(name)
    then = NOW - days * DAY
    await store.restore(msgspec.structs.replace(row, state=state, created_at=then, updated_at=then))


async def _names(store: Store) -> set[str]:
    return {row.session_id for row in await store.sessions()}


async def test_sessions_that_ended_before_then_go_the_oldest_first(store: Store) -> None:
    for name, days in {"older": 60, "old": 31, "young": 29}.items():
        await _aged(store, name, days)
    assert await store.prune(NOW - 30 * DAY) == [
        Removed(session_id="older", entries=4),
        Removed(session_id="old", entries=4),
    ]
    assert await _names(store) == {"young"}
    assert await store.load(SessionKey(project_key="p", session_id="old")) is None
    with pytest.raises(TranscriptError):
        await store.prompts("old")
    assert len([entry async for entry in store.entries("young")]) == 4
    assert len(await store.prompts("young")) == 1
    assert await store.prune(NOW - 30 * DAY) == []


async def test_as_many_go_as_are_asked_for(store: Store) -> None:
    for name, days in {"b": 50, "a": 60, "c": 40}.items():
        await _aged(store, name, days)
    assert [gone.session_id for gone in await store.prune(NOW, limit=2)] == ["a", "b"]


async def test_what_may_still_be_wanted_stays(store: Store) -> None:
    for state in SessionState:
        await _aged(store, state, 60, state)
    await _aged(store, "held", 60)
    await store.acquire_lease("held", owner="one", ttl=LONG)
    await _aged(store, "worker-gone", 60, SessionState.RUNNING)
    await store.acquire_lease("worker-gone", owner="one", ttl=OVER)
    removed = await store.prune(NOW - 30 * DAY)
    wanted = {SessionState.QUEUED, SessionState.RUNNING, SessionState.PAUSED}
    ended = set(SessionState) - wanted
    assert {gone.session_id for gone in removed} == ended
    assert await _names(store) == {"queued", "running", "paused", "held", "worker-gone"}
    rows = await store.prunable(NOW - 30 * DAY, unfinished=True)
    assert {row.session_id for row in rows} == {"running", "paused", "worker-gone"}
    assert len(await store.prune(NOW - 30 * DAY, unfinished=True)) == 3
    assert await _names(store) == {"queued", "held"}


async def test_a_session_taken_or_changed_meanwhile_stays(backend: Backend) -> None:
    one = await backend.fresh()
    two = await backend.again(one)
    for name in ("taken", "changed", "gone", "old"):
        await _aged(one, name, 60)
    rows = await one.prunable(NOW)
    await two.acquire_lease("taken", owner="two", ttl=LONG)
    await two.update_session("changed", state_reason="looked at again")
    await two.delete(SessionKey(project_key="p", session_id="gone"))
    with pytest.raises(LeaseHeld):
        await one._prune(rows[0])
    assert await one._prune(rows[1]) is None
    with pytest.raises(TranscriptError):
        await one._prune(rows[2])
    assert await one._prune(rows[3]) == 4
    assert await _names(one) == {"taken", "changed"}
    assert (await one.session("changed")).lease is None


async def test_a_long_session_goes_in_parts_from_its_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _aged(store, "s", 60, entries=6)
    lease = await store.acquire_lease("s", owner="one", ttl=LONG)
    before = [entry async for entry in store.entries("s")]
    assert await store.remove("s", at_most=2, lease=lease) == 2
    assert [entry async for entry in store.entries("s")] == before[:5]
    row = await store.session("s")
    assert (row.state, row.entries) == (SessionState.CLOSED, 7)
    assert "its end is missing" in row.state_reason
    await store.release_lease(lease)
    monkeypatch.setattr(interface, "_REMOVED_AT_ONCE", 2)
    assert await store.prune(NOW) == [Removed(session_id="s", entries=5)]
    assert await _names(store) == set()


async def test_a_stale_lease_removes_nothing(store: Store) -> None:
    await _aged(store, "s", 60)
    stale = Lease(session_id="s", owner="one", epoch=1, expires_at=NOW)
    with pytest.raises(LeaseLost):
        await store.remove("s", at_most=2, lease=stale)
    assert len([entry async for entry in store.entries("s")]) == 4
