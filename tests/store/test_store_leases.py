"""One worker at a time runs a session, and a stale one can change nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from claude_agent_sdk import SessionKey

from supervisor.core.intent import Intent
from supervisor.core.lease import Lease, nobodys
from supervisor.core.session import SessionState
from supervisor.errors import LeaseHeld, LeaseLost, StoreError, TranscriptError
from supervisor.store.interface import Store

if TYPE_CHECKING:
    from tests.store.conftest import Backend

pytestmark = pytest.mark.anyio

KEY = SessionKey(project_key="p", session_id="s")
LONG = timedelta(hours=1)
OVER = timedelta(0)
"""A lease of this length has expired when it is given."""

Change = Callable[[Store, Lease], Awaitable[object]]


async def _write(store: Store, lease: Lease) -> object:
    return await store.write(KEY, [b'{"uuid":"new"}', b"{}"], lease=lease)


async def _write_new_transcript(store: Store, lease: Lease) -> object:
    key = SessionKey(project_key="p", session_id="fork")
    return await store.write(key, [b"{}"], session_id="s", lease=lease)


async def _record(store: Store, lease: Lease) -> object:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return await store.record(Intent(session_id="s", call_id="c", tool="T", at=at), lease=lease)


async def _update(store: Store, lease: Lease) -> object:
    return await store.update_session("s", state_reason="new", lease=lease)


changes = pytest.mark.parametrize("change", [_write, _write_new_transcript, _record, _update])


async def _content(store: Store) -> object:
    entries = [entry async for entry in store.entries("s")]
    return entries, await store.intents("s"), (await store.session("s")).state_reason


@pytest.fixture
async def kept(store: Store) -> Store:
    await store.write(KEY, [b'{"uuid":"a"}'])
    return store


async def test_the_first_lease_has_epoch_one_and_is_seen(kept: Store) -> None:
    assert await kept.lease("s") is None
    assert (await kept.session("s")).lease is None
    before = datetime.now(UTC)
    lease = await kept.acquire_lease("s", owner="one", ttl=LONG)
    assert (lease.session_id, lease.owner, lease.epoch) == ("s", "one", 1)
    assert before + LONG <= lease.expires_at <= datetime.now(UTC) + LONG
    assert await kept.lease("s") == lease
    assert (await kept.session("s")).lease == lease
    assert [row.lease for row in await kept.sessions()] == [lease]


async def test_a_session_that_runs_elsewhere_says_who_holds_it_and_until_when(kept: Store) -> None:
    lease = await kept.acquire_lease("s", owner="host-1/77", ttl=LONG)
    with pytest.raises(LeaseHeld, match=r"'s' is run by host-1/77 until 20..-.* UTC; wait") as held:
        await kept.acquire_lease("s", owner="two", ttl=LONG)
    assert (held.value.holder, held.value.expires_at) == (lease.owner, lease.expires_at)
    assert await kept.lease("s") == lease


@pytest.mark.parametrize("ttl", [LONG, OVER])
async def test_the_same_owner_asking_again_keeps_its_epoch(kept: Store, ttl: timedelta) -> None:
    first = await kept.acquire_lease("s", owner="one", ttl=ttl)
    again = await kept.acquire_lease("s", owner="one", ttl=2 * LONG)
    assert again.epoch == first.epoch
    assert again.expires_at > first.expires_at


async def test_an_expired_lease_is_taken_over_with_the_next_epoch(kept: Store) -> None:
    first = await kept.acquire_lease("s", owner="one", ttl=OVER)
    assert await kept.lease("s") == first
    assert (await kept.session("s")).lease is None, "it is not alive"
    second = await kept.acquire_lease("s", owner="two", ttl=OVER)
    back = await kept.acquire_lease("s", owner="one", ttl=LONG)
    assert [lease.epoch for lease in (first, second, back)] == [1, 2, 3]


async def test_one_of_many_who_ask_at_once_gets_it(backend: Backend) -> None:
    one = await backend.fresh()
    two = await backend.again(one)
    await one.create_session("s", project_key="p")
    answers = await asyncio.gather(
        *(
            store.acquire_lease("s", owner=f"worker-{number}", ttl=LONG)
            for number, store in enumerate([one, two] * 5)
        ),
        return_exceptions=True,
    )
    (lease,) = [answer for answer in answers if isinstance(answer, Lease)]
    assert lease.epoch == 1
    refusals = [answer for answer in answers if isinstance(answer, LeaseHeld)]
    assert [refusal.holder for refusal in refusals] == [lease.owner] * 9


@pytest.mark.parametrize("ttl", [LONG, OVER])
async def test_a_lease_is_renewed_also_when_it_expired_and_nobody_took_it(
    kept: Store, ttl: timedelta
) -> None:
    first = await kept.acquire_lease("s", owner="one", ttl=ttl)
    renewed = await kept.renew_lease(first, ttl=2 * LONG)
    assert (renewed.owner, renewed.epoch) == ("one", 1)
    assert renewed.expires_at > first.expires_at
    assert await kept.lease("s") == renewed


async def test_a_lease_that_another_took_is_lost(kept: Store) -> None:
    first = await kept.acquire_lease("s", owner="one", ttl=OVER)
    second = await kept.acquire_lease("s", owner="two", ttl=LONG)
    with pytest.raises(LeaseLost, match=r"of one on session 's' \(epoch 1\) is lost: two took"):
        await kept.renew_lease(first, ttl=LONG)
    assert await kept.lease("s") == second


async def test_a_lease_is_lost_also_when_its_owner_has_a_newer_one(kept: Store) -> None:
    first = await kept.acquire_lease("s", owner="one", ttl=OVER)
    await kept.acquire_lease("s", owner="two", ttl=OVER)
    await kept.acquire_lease("s", owner="one", ttl=LONG)
    with pytest.raises(LeaseLost):
        await kept.renew_lease(first, ttl=LONG)


async def test_a_released_lease_can_be_taken_at_once(kept: Store) -> None:
    first = await kept.acquire_lease("s", owner="one", ttl=LONG)
    await kept.release_lease(first)
    assert (await kept.session("s")).lease is None
    assert (await kept.acquire_lease("s", owner="two", ttl=LONG)).epoch == 2


async def test_releasing_a_lost_lease_leaves_the_new_one(kept: Store) -> None:
    first = await kept.acquire_lease("s", owner="one", ttl=OVER)
    second = await kept.acquire_lease("s", owner="two", ttl=LONG)
    await kept.release_lease(first)
    assert (await kept.session("s")).lease == second


@changes
@pytest.mark.parametrize("ttl", [LONG, OVER])
async def test_the_holder_changes_its_session_as_long_as_nobody_took_it(
    kept: Store, change: Change, ttl: timedelta
) -> None:
    lease = await kept.acquire_lease("s", owner="one", ttl=ttl)
    before = await _content(kept)
    await change(kept, lease)
    assert await _content(kept) != before


@changes
async def test_a_stale_epoch_changes_nothing(kept: Store, change: Change) -> None:
    stale = await kept.acquire_lease("s", owner="one", ttl=OVER)
    fresh = await kept.acquire_lease("s", owner="two", ttl=LONG)
    before = await _content(kept)
    with pytest.raises(LeaseLost, match=r"two took the session over .*; stop this agent"):
        await change(kept, stale)
    assert await _content(kept) == before
    assert await kept.load(SessionKey(project_key="p", session_id="fork")) is None
    await change(kept, fresh)


@changes
async def test_a_lease_gives_no_right_to_another_session(kept: Store, change: Change) -> None:
    await kept.create_session("other", project_key="p")
    other = await kept.acquire_lease("other", owner="one", ttl=LONG)
    before = await _content(kept)
    with pytest.raises(StoreError, match="a lease on session 'other' gives no right"):
        await change(kept, other)
    assert await _content(kept) == before


async def test_a_lease_says_which_session_a_new_transcript_belongs_to(kept: Store) -> None:
    lease = await kept.acquire_lease("s", owner="one", ttl=LONG)
    branch = SessionKey(project_key="p", session_id="branch")
    (entry,) = await kept.write(branch, [b"{}"], lease=lease)
    assert (entry.session_id, entry.seq) == ("s", 2)


async def test_writers_and_a_take_over_at_once_leave_no_stale_entry_behind_it(
    backend: Backend,
) -> None:
    one = await backend.fresh()
    two = await backend.again(one)
    await one.create_session("s", project_key="p")
    stale = await one.acquire_lease("s", owner="one", ttl=OVER)

    async def write_on(number: int) -> str:
        raw = json.dumps({"uuid": f"stale-{number}"}).encode()
        try:
            return "kept" if await one.write(KEY, [raw], lease=stale) else "known"
        except LeaseLost:
            return "refused"

    async def take_over() -> int:
        fresh = await two.acquire_lease("s", owner="two", ttl=LONG)
        (entry,) = await two.write(KEY, [b'{"uuid":"fresh"}'], lease=fresh)
        return entry.seq

    *answers, first_seq = await asyncio.gather(*map(write_on, range(20)), take_over())
    uuids = [entry.uuid async for entry in two.entries("s")]
    assert uuids[-1] == "fresh"
    assert first_seq == len(uuids) == answers.count("kept") + 1
    assert set(answers) <= {"kept", "refused"}


async def test_the_lease_on_an_unknown_session_is_an_error(store: Store) -> None:
    with pytest.raises(TranscriptError, match="no session 'nope'"):
        await store.acquire_lease("nope", owner="one", ttl=LONG)
    with pytest.raises(TranscriptError, match="no session 'nope'"):
        await store.lease("nope")


async def test_a_lease_goes_with_its_session(kept: Store) -> None:
    lease = await kept.acquire_lease("s", owner="one", ttl=LONG)
    await kept.delete(KEY)
    with pytest.raises(LeaseLost, match="the session is gone"):
        await kept.renew_lease(lease, ttl=LONG)
    with pytest.raises(LeaseLost, match="the session is gone"):
        await kept.write(KEY, [b"{}"], lease=lease)
    await kept.release_lease(lease)
    assert await kept.sessions() == []


# What a worker may take


async def test_queued_and_orphaned_sessions_are_runnable_oldest_first(store: Store) -> None:
    names = ("queued", "orphaned", "taken", "running", "own", "ended", "drained", "late", "last")
    for name in names:
        await store.create_session(name, project_key="p", state=SessionState.QUEUED)
    for name in ("orphaned", "running", "own", "drained", "late"):
        await store.update_session(name, state=SessionState.RUNNING)
    for name in ("orphaned", "running", "drained", "ended", "late"):
        await store.update_session(name, submission="{}")
    await store.update_session("ended", state=SessionState.REACHED)
    leased = {"orphaned": OVER, "taken": LONG, "running": LONG, "own": OVER, "ended": OVER}
    for name, ttl in leased.items():
        await store.acquire_lease(name, owner="one", ttl=ttl)
    await store.release_lease(await store.acquire_lease("drained", owner="one", ttl=LONG))
    rows = await store.runnable(10)
    assert [row.session_id for row in rows] == ["queued", "orphaned", "drained", "last"]
    assert [row.session_id for row in await store.runnable(2)] == ["queued", "orphaned"]
    assert rows[0] == await store.session("queued")


@changes
async def test_before_the_first_lease_nobodys_will_do_and_after_it_does_not(
    kept: Store, change: Change
) -> None:
    await change(kept, nobodys("s"))
    await kept.acquire_lease("s", owner="one", ttl=OVER)
    before = await _content(kept)
    with pytest.raises(LeaseLost, match="session 's' was taken by one"):
        await change(kept, nobodys("s"))
    assert await _content(kept) == before
