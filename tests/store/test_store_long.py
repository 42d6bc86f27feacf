"""Long sessions: read in parts, listed without a look at their entries."""

from __future__ import annotations

import asyncio
import random
import re
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import SessionKey

from supervisor.store.archive import export_session, import_session
from supervisor.store.interface import Store
from supervisor.store.sqlite import SqliteStore
from supervisor.store.sqlite_file import connect
from supervisor.store.statements import SQL, load_statements

pytestmark = pytest.mark.anyio

KEY = SessionKey(project_key="p", session_id="s")
OTHER = SessionKey(project_key="p", session_id="other")
LINES = 800
SIZE = 20_000
MOST = 12_000_000
"""Bytes held at once, of 16,000,000: a batch has about 4,000,000, and is copied while it is
packed or sent."""


def _raws() -> list[bytes]:
    draw = random.Random(3)
    return [
        b'{"uuid":"%d","text":"%s"}' % (number, draw.randbytes(SIZE // 2).hex().encode())
        for number in range(LINES)
    ]


@pytest.fixture
async def long(store: Store) -> Store:
    raws = _raws()
    for start in range(0, LINES, 100):
        await store.write(KEY, raws[start : start + 100])
    return store


async def _peak(work: Callable[[], Awaitable[object]]) -> int:
    tracemalloc.start()
    try:
        await work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_reading_a_long_session_holds_a_part_of_it(long: Store) -> None:
    sizes: list[int] = []

    async def read() -> None:
        async for entry in long.entries("s"):
            sizes.append(len(entry.raw))

    assert await _peak(read) < MOST
    assert len(sizes) == LINES
    assert sum(sizes) > LINES * SIZE


async def test_a_long_session_goes_through_a_file_in_parts(long: Store, tmp_path: Path) -> None:
    async def there_and_back() -> None:
        with (tmp_path / "s").open("wb") as file:
            await export_session(long, "s", file)
        async with SqliteStore(tmp_path / "other.db") as other:
            assert (await import_session(other, tmp_path / "s")).entries == LINES

    assert await _peak(there_and_back) < MOST


async def test_a_long_session_is_appended_to_and_loaded_in_order(store: Store) -> None:
    entries: list[Any] = [{"uuid": f"{number}", "type": "x"} for number in range(4_000)]
    for start in range(0, 4_000, 250):
        await store.append(KEY, entries[start : start + 250])
        await store.write(OTHER, [b"{}"], session_id="s")
    assert await store.load(KEY) == entries
    assert len([entry async for entry in store.entries("s", transcript="other")]) == 16
    rest = [entry.seq async for entry in store.entries("s", after=4_000)]
    assert rest == list(range(4_001, 4_017))


async def test_a_long_load_lets_other_calls_through() -> None:
    done: list[str] = []
    async with SqliteStore() as store:
        await store.write(KEY, [b'{"n":%d}' % number for number in range(3_000)])

        async def load() -> None:
            loaded = await store.load(KEY)
            assert loaded is not None
            done.append(f"loaded {len(loaded)}")

        async def look() -> None:
            await store.sessions()
            done.append("looked")

        await asyncio.gather(load(), look())
    assert done == ["looked", "loaded 3000"]


def test_no_statement_looks_through_all_entries() -> None:
    with closing(connect(None, 1.0)) as db:
        for statement in load_statements(SQL / "sqlite" / "queries.sql").values():
            names = dict.fromkeys(re.findall(r":(\w+)", statement))
            plan = db.execute(f"EXPLAIN QUERY PLAN {statement}", names).fetchall()
            steps = [row["detail"] for row in plan]
            assert [step for step in steps if re.match(r"SCAN (entry|e)\b", step)] == []


def test_what_a_worker_may_take_is_found_by_its_index() -> None:
    statement = load_statements(SQL / "sqlite" / "queries.sql")["runnable_ids"]
    with closing(connect(None, 1.0)) as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN {statement}", {"now": 1, "limit": 1}).fetchall()
    assert [row["detail"] for row in plan] == ["SCAN session USING INDEX session_to_run"]
