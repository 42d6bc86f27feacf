"""Writes of entries that are carried out together come to what each alone comes to."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from claude_agent_sdk import SessionKey
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.lease import Lease
from supervisor.errors import LeaseLost
from supervisor.privacy.keyring import VARIABLE, new_key
from supervisor.store.interface import StoredEntry
from supervisor.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


class Writing(NamedTuple):
    """One call of `Store.write`."""

    key: SessionKey
    raws: tuple[bytes, ...]
    offsets: tuple[int, ...] | None
    session_id: str | None


def raw(uuid: int | None, text: str) -> bytes:
    named = f'"uuid":"u{uuid}",' if uuid is not None else ""
    return f'{{{named}"type":"user","message":{{"content":"{text}"}},"n":1}}'.encode()


RAWS = st.builds(raw, st.none() | st.integers(0, 6), st.sampled_from(["", "a", "b" * 5_000]))
KEYS = st.builds(
    lambda session, subpath: (
        SessionKey(project_key="p", session_id=session, subpath=subpath)
        if subpath
        else SessionKey(project_key="p", session_id=session)
    ),
    st.sampled_from(["s1", "s2", "fork of s1"]),
    st.sampled_from(["", "subagents/agent-1"]),
)


@st.composite
def writings(draw: st.DrawFn) -> Writing:
    raws = draw(st.lists(RAWS, max_size=4))
    offsets = draw(st.none() | st.permutations(range(len(raws))))
    session_id = draw(st.sampled_from([None, "s1", "s2"]))
    places = tuple(offsets) if offsets is not None else None
    return Writing(draw(KEYS), tuple(raws), places, session_id)


async def write(store: SqliteStore, one: Writing, lease: Lease | None = None) -> list[StoredEntry]:
    return await store.write(
        one.key, one.raws, offsets=one.offsets, session_id=one.session_id, lease=lease
    )


async def contents(store: SqliteStore) -> object:
    sessions = sorted(row.session_id for row in await store.sessions())
    summaries = await store.list_session_summaries("p")
    return (
        {name: [entry async for entry in store.entries(name)] for name in sessions},
        {name: (await store.session(name)).entries for name in sessions},
        {one["session_id"]: one["data"] for one in summaries},
    )


@given(st.lists(writings(), max_size=12), st.lists(writings(), max_size=12))
@settings(max_examples=60, deadline=None)
def test_together_or_one_after_another_comes_to_the_same(
    before: list[Writing], group: list[Writing]
) -> None:
    async def both() -> None:
        async with SqliteStore() as one_by_one, SqliteStore() as at_once:
            for one in before:
                await write(one_by_one, one)
                await write(at_once, one)
            apart = [await write(one_by_one, one) for one in group]
            together = await asyncio.gather(*(write(at_once, one) for one in group))
            assert together == apart
            assert await contents(at_once) == await contents(one_by_one)

    asyncio.run(both())


def plain(number: int, text: str = "hello") -> Writing:
    key = SessionKey(project_key="p", session_id=f"s{number}")
    return Writing(key, (raw(None, text),), None, None)


async def test_a_lost_lease_stops_its_own_writes_alone() -> None:
    async with SqliteStore() as store:
        for number in range(4):
            await write(store, plain(number))
        stale = await store.acquire_lease("s2", owner="first", ttl=timedelta(0))
        held = await store.acquire_lease("s2", owner="second", ttl=timedelta(hours=1))
        leases = {2: stale}

        results = await asyncio.gather(
            *(write(store, plain(number), leases.get(number)) for number in range(4)),
            write(store, plain(2), held),
            return_exceptions=True,
        )

        assert isinstance(results[2], LeaseLost)
        assert [one[0].seq for one in results if isinstance(one, list)] == [2, 2, 2, 2]


async def test_what_is_written_together_is_encrypted_and_can_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, new_key())
    async with SqliteStore(tmp_path / "lucid.db") as store:
        for number in range(3):
            await write(store, plain(number, "first"))
        await asyncio.gather(*(write(store, plain(number, "secret" * 900)) for number in range(3)))
        entries = [entry.raw async for entry in store.entries("s1")]
        summaries = await store.list_session_summaries("p")

    assert entries == [raw(None, "first"), raw(None, "secret" * 900)]
    assert [one["data"]["first_prompt"] for one in summaries] == ["first"] * 3
    files = await asyncio.to_thread(lambda: [file.read_bytes() for file in tmp_path.iterdir()])
    assert not [True for held in files if b"secret" in held or b"first" in held]


async def test_writes_of_many_megabytes_are_not_put_into_one_statement() -> None:
    async with SqliteStore() as store:
        for number in range(3):
            await write(store, plain(number))
        long = "x" * (3 * 1024 * 1024)
        results = await asyncio.gather(*(write(store, plain(n % 3, long)) for n in range(4)))
        assert [one[0].seq for one in results] == [2, 2, 2, 3]
