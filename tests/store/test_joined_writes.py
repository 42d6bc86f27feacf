"""Writes that wait for the disk together share its sync, and fail each for itself."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from claude_agent_sdk import SessionKey

from supervisor.errors import LeaseLost, StoreAway
from supervisor.store.interface import Addition, Store
from supervisor.store.sqlite import SqliteStore
from supervisor.store.sqlite_thread import DatabaseThread

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)


def key(number: int) -> SessionKey:
    return SessionKey(project_key="p", session_id=f"s{number}")


async def test_a_write_that_is_refused_takes_no_other_with_it(store: Store) -> None:
    await store.write(key(0), [b"{}"])
    stale = await store.acquire_lease("s0", owner="first", ttl=timedelta(0))
    await store.acquire_lease("s0", owner="second", ttl=HOUR)
    leases = {4: stale}

    results = await asyncio.gather(
        *(store.write(key(abs(n - 4)), [b"{}"], lease=leases.get(n)) for n in range(1, 9)),
        return_exceptions=True,
    )

    assert [n for n, result in enumerate(results, 1) if isinstance(result, LeaseLost)] == [4]
    assert [len(result) for result in results if isinstance(result, list)] == [1] * 7


async def test_what_cannot_be_committed_is_the_end_of_each_write_in_it(tmp_path: Path) -> None:
    path = tmp_path / "lucid.db"
    async with SqliteStore(path, busy_timeout=0.0) as store:
        await store.write(key(1), [b"{}"])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            results = await asyncio.gather(
                *(store.write(key(n), [b"{}"]) for n in range(1, 9)), return_exceptions=True
            )
        assert [type(result) for result in results] == [StoreAway] * 8
        assert (await store.session("s1")).entries == 1


async def test_several_writes_at_once_come_each_to_what_they_would_alone(store: Store) -> None:
    one, other = b'{"uuid":"a"}', b'{"uuid":"b"}'
    await store.write(key(1), [one])

    results = await store.write_all(
        [
            Addition(key(1), [one, other]),
            Addition(key(2), [one], offsets=[0, 1]),  # which of them stands where?
            Addition(key(3), [one, other], session_id="another", inherited=True),
            Addition(key(4), [b"{}", b"{}"], offsets=[7, 7]),
        ]
    )

    assert isinstance(results[1], ValueError)
    told = [[(e.seq, e.raw) for e in each] for each in results if isinstance(each, list)]
    assert told == [[(2, other)], [(1, one), (2, other)], [(1, b"{}")]]
    kept = [entry async for entry in store.entries("another")]
    assert [entry.inherited for entry in kept] == [True, True]


async def test_what_several_writes_at_once_meet_is_told_of_each(tmp_path: Path) -> None:
    path = tmp_path / "lucid.db"
    async with SqliteStore(path, busy_timeout=0.0) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreAway, match="is locked by another process"):
                await store.write_all([Addition(key(n), [b"{}"]) for n in range(3)])
        (stored,) = await store.write_all([Addition(key(1), [b"{}"])])
        assert isinstance(stored, list)


async def test_only_writes_that_wait_in_a_row_are_joined_and_order_is_kept() -> None:
    thread = DatabaseThread(name="test")
    asked: list[str] = []
    groups: list[int] = []
    began, free = threading.Event(), threading.Event()

    def join(writes: object) -> list[object]:
        assert isinstance(writes, list)
        groups.append(len(writes))
        return [write() for write in writes]

    def held() -> None:
        began.set()
        free.wait(10)

    thread.joins_by(join)
    busy = asyncio.create_task(thread.run(held))
    await asyncio.to_thread(began.wait, 10)
    calls = [
        asyncio.create_task(thread.run(partial(asked.append, name), joins=name != "look"))
        for name in ("a", "b", "look", "c", "d", "e")
    ]
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(busy, *calls)
    thread.stop()

    assert asked == ["a", "b", "look", "c", "d", "e"]
    assert groups == [2, 3]
