"""A worker's hold on a session: taken, kept, lost, let go."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from supervisor.core.lease import Lease
from supervisor.errors import LeaseHeld, LeaseLost
from supervisor.runtime import hold as hold_module
from supervisor.runtime.hold import Hold
from supervisor.runtime.keeper_process import birth
from supervisor.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

LONG = timedelta(minutes=5)
SHORT = timedelta(seconds=0.15)


def never(error: LeaseLost) -> None:
    raise AssertionError(error)


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    async with SqliteStore(None) as store:
        await store.create_session("s", project_key="p")
        yield store


async def renewed(hold: Hold, begun: Lease) -> None:
    """Wait until the hold has outlasted the lease it began with."""
    async with asyncio.timeout(10):
        while hold.lease is None or hold.lease.expires_at <= begun.expires_at + 2 * SHORT:  # noqa: ASYNC110 - only the store's clock tells
            await asyncio.sleep(0.01)


async def test_a_held_session_is_nobody_elses_until_it_is_let_go(store: SqliteStore) -> None:
    first, second = (Hold(store, "s", LONG, on_lost=never) for _ in range(2))
    await first.begin()
    with pytest.raises(LeaseHeld, match=str(os.getpid())):
        await second.begin()
    await first.end()

    await second.begin()

    assert second.lease is not None
    assert second.lease.epoch == 2
    await second.end()


async def test_a_hold_outlasts_its_lease_by_renewing_it(store: SqliteStore) -> None:
    hold = Hold(store, "s", SHORT, on_lost=never)
    await hold.begin()
    begun = hold.lease
    assert begun is not None

    await renewed(hold, begun)

    with pytest.raises(LeaseHeld):
        await store.acquire_lease("s", owner="another", ttl=LONG)
    await hold.end()


async def test_whoever_loses_the_session_hears_of_it(store: SqliteStore) -> None:
    lost: asyncio.Future[LeaseLost] = asyncio.get_running_loop().create_future()
    hold = Hold(store, "s", SHORT, on_lost=lost.set_result)
    await hold.begin()
    assert hold.lease is not None
    await store.release_lease(hold.lease)
    await store.acquire_lease("s", owner="another", ttl=LONG)

    error = await asyncio.wait_for(lost, 10)

    assert "another" in str(error)
    await hold.end()


async def test_a_dead_process_of_this_host_holds_nothing(store: SqliteStore) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    born = birth(process.pid) or "gone already"
    await process.wait()
    dead = f"{hold_module._host()}/{process.pid}/{born}/x"
    await store.acquire_lease("s", owner=dead, ttl=LONG)
    hold = Hold(store, "s", LONG, on_lost=never)

    await hold.begin()

    assert hold.lease is not None
    await hold.end()


async def test_a_hold_names_its_process_so_that_it_can_be_told_whether_it_lives(
    store: SqliteStore,
) -> None:
    hold = Hold(store, "s", LONG, on_lost=never)
    await hold.begin()

    assert hold.lease is not None
    owner = hold.lease.owner
    assert owner.startswith(f"{hold_module._host()}/{os.getpid()}/")
    assert not hold_module._is_gone(owner)
    assert hold_module._is_gone(owner.replace(f"/{birth(os.getpid())}/", "/0/"))
    await hold.end()


async def test_a_process_of_another_host_is_given_its_time(store: SqliteStore) -> None:
    await store.acquire_lease("s", owner="elsewhere#1/1/1/x", ttl=LONG)

    with pytest.raises(LeaseHeld, match="elsewhere"):
        await Hold(store, "s", LONG, on_lost=never).begin()
