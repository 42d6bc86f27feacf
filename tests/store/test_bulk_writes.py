"""Writes of entries that are carried out together come to what each alone comes to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest
from claude_agent_sdk import SessionKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.core.lease import Lease, nobodys
from supervisor.errors import LeaseLost
from supervisor.privacy.keyring import VARIABLE, new_key
from supervisor.store.interface import Addition, Store, StoredEntry
from supervisor.store.postgres import PostgresStore
from supervisor.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from tests.store.conftest import Backend

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


async def write(store: Store, one: Writing, lease: Lease | None = None) -> list[StoredEntry]:
    return await store.write(
        one.key, one.raws, offsets=one.offsets, session_id=one.session_id, lease=lease
    )


async def contents(store: Store, project: str = "p") -> object:
    rows = await store.sessions(10_000)
    sessions = sorted(row.session_id for row in rows if row.project_key == project)
    summaries = await store.list_session_summaries(project)
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


# `Store.write_all`, on each database


def addition(number: int, *raws: bytes, offsets: Sequence[int] | None = None) -> Addition:
    key = SessionKey(project_key="p", session_id=f"s{number}")
    return Addition(key, raws, offsets=offsets)


def numbers(results: Sequence[list[StoredEntry] | Exception]) -> list[list[int]]:
    assert not [one for one in results if isinstance(one, Exception)]
    return [[entry.seq for entry in one] for one in results if isinstance(one, list)]


async def uuids(store: Store, session_id: str) -> list[str | None]:
    entries = [entry async for entry in store.entries(session_id)]
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert (await store.session(session_id)).entries == len(entries)
    return [entry.uuid for entry in entries]


_KEYS = [("s1", ""), ("s1", "subagents/agent-1"), ("s2", ""), ("fork of s1", "")]
_EXAMPLES = count(1)


def _of_example(one: Writing, example: int) -> Writing:
    """The same, apart from what other examples left in the store."""
    key, told = one.key.copy(), one.session_id and f"{example} {one.session_id}"
    key["project_key"] = f"p{example}"
    key["session_id"] = f"{example} {key['session_id']}"
    return one._replace(key=key, session_id=told)


def _first_ones() -> list[Writing]:
    keys = [SessionKey(project_key="p", session_id=one, subpath=path) for one, path in _KEYS]
    keys.append(SessionKey(project_key="p", session_id="s2", subpath="subagents/agent-1"))
    keys.append(SessionKey(project_key="p", session_id="fork of s1", subpath="subagents/agent-1"))
    return [Writing(key, (raw(n, "first"),), None, None) for n, key in enumerate(keys)]


@given(st.lists(writings(), min_size=2, max_size=12))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_postgres_writes_together_what_sqlite_writes_one_after_another(
    postgres_dsn: str, group: list[Writing]
) -> None:
    async def both() -> None:
        example = next(_EXAMPLES)
        ours = [_of_example(one, example) for one in group]
        async with SqliteStore() as one_by_one, PostgresStore(postgres_dsn) as at_once:
            for one in _first_ones():
                await write(one_by_one, _of_example(one, example))
                await write(at_once, _of_example(one, example))
            apart = [await write(one_by_one, one) for one in ours]
            together = await at_once.write_all(
                [Addition(one.key, one.raws, one.session_id, None, one.offsets) for one in ours]
            )
            assert together == apart
            project = f"p{example}"
            assert await contents(at_once, project) == await contents(one_by_one, project)

    asyncio.run(both())


async def test_known_entries_are_left_out_and_the_others_numbered_without_gaps(
    store: Store,
) -> None:
    plain_line, other_line = raw(None, "a"), raw(None, "b")
    for number in (1, 2):
        await store.write_all([addition(number, raw(0, "x"), plain_line, offsets=[0, 9])])

    results = await store.write_all(
        [
            addition(1, raw(0, "x"), raw(1, "x"), raw(1, "x"), offsets=[0, 20, 30]),
            addition(2, plain_line, other_line, raw(3, "x"), offsets=[9, 20, 30]),
            addition(1, raw(1, "again"), raw(2, "x"), plain_line, offsets=[40, 50, 60]),
            addition(2),
            addition(1, plain_line, raw(2, "x"), offsets=[60, 70]),
        ]
    )

    assert numbers(results) == [[3], [3, 4], [4, 5], [], []]
    assert await uuids(store, "s1") == ["u0", None, "u1", "u2", None]
    assert await uuids(store, "s2") == ["u0", None, None, "u3"]


async def test_new_transcripts_are_written_beside_known_ones(store: Store) -> None:
    await store.write_all([addition(number, raw(0, "x")) for number in (1, 3)])
    results = await store.write_all([addition(n, raw(0, "x"), raw(1, "x")) for n in range(5)])
    assert numbers(results) == [[1, 2], [2], [1, 2], [2], [1, 2]]
    for number in range(5):
        assert await uuids(store, f"s{number}") == ["u0", "u1"]


async def test_a_lease_on_a_session_is_left_as_it_is(store: Store) -> None:
    await store.write_all([addition(1, raw(0, "x")), addition(2, raw(0, "x"))])
    lease = await store.acquire_lease("s1", owner="one", ttl=timedelta(hours=1))
    results = await store.write_all([addition(1, raw(1, "x")), addition(2, raw(1, "x"))])
    assert numbers(results) == [[2], [2]]
    assert await store.lease("s1") == lease
    assert (await store.write(addition(1).key, [raw(2, "x")], lease=lease))[0].seq == 3


async def test_what_is_written_under_a_lost_lease_is_left_out_alone(store: Store) -> None:
    firsts = [addition(number, raw(0, "x")) for number in range(3)]
    await store.write_all([one._replace(lease=nobodys(one.key["session_id"])) for one in firsts])
    taken = await store.acquire_lease("s1", owner="one", ttl=timedelta(0))
    leases = [nobodys("s0"), nobodys("s1"), None]
    seconds = [addition(number, raw(1, "x")) for number in range(3)]
    results = await store.write_all(
        [one._replace(lease=lease) for one, lease in zip(seconds, leases, strict=True)]
    )
    assert isinstance(results[1], LeaseLost)
    assert numbers([results[0], results[2]]) == [[2], [2]]
    assert await uuids(store, "s1") == ["u0"]
    again = await store.write_all([one._replace(lease=taken) for one in seconds[1:2] * 2])
    assert numbers(again) == [[2], []]


async def test_two_that_write_to_the_same_sessions_in_different_order_both_do(
    backend: Backend,
) -> None:
    store = await backend.fresh()
    other = await backend.again(store)
    await store.write_all([addition(number, raw(0, "x")) for number in range(20)])

    async def writer(through: Store, start: int, step: int) -> None:
        for turn in range(start, start + 5):
            group = [addition(number, raw(turn, "x"), raw(99, "x")) for number in range(20)]
            results = await through.write_all(group[::step])
            assert not [one for one in results if isinstance(one, Exception)]

    async def single() -> None:
        for number in range(20):
            await other.write(addition(number).key, [raw(50, "x")])

    await asyncio.gather(writer(store, 10, 1), writer(other, 20, -1), single())

    for number in range(20):
        held = await uuids(store, f"s{number}")
        assert len(held) == 13
        assert {*held} == {f"u{n}" for n in (0, *range(10, 15), *range(20, 25), 50, 99)}


async def test_postgres_takes_one_transaction_for_all_that_are_known(postgres_dsn: str) -> None:
    transactions = "SELECT xmin::text, count(*) FROM lucid.entry WHERE seq > 1 GROUP BY xmin::text"
    async with PostgresStore(postgres_dsn) as store:
        await store.write_all([addition(number, raw(0, "x")) for number in range(50)])
        await store.write_all([addition(number, raw(1, "x" * 5_000)) for number in range(60)])
        async with await psycopg.AsyncConnection.connect(postgres_dsn) as raw_connection:
            rows = await (await raw_connection.execute(transactions)).fetchall()
    assert [written for _, written in rows] == [50]


async def test_a_session_that_another_holds_locked_does_not_hold_up_the_others(
    postgres_dsn: str,
) -> None:
    lock = "SELECT FROM lucid.session WHERE id = 's1' FOR UPDATE"
    seen = "SELECT count(*) FROM lucid.entry WHERE seq = 2"
    async with (
        PostgresStore(postgres_dsn) as store,
        await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as other,
    ):
        await store.write_all([addition(number, raw(0, "x")) for number in range(3)])
        async with other.transaction():
            await other.execute(lock)
            writing = asyncio.create_task(
                store.write_all([addition(number, raw(1, "x")) for number in range(3)])
            )
            while await (await other.execute(seen)).fetchone() != (2,):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.005)
            assert not writing.done()
        assert numbers(await writing) == [[2], [2], [2]]


async def test_where_writing_together_fails_each_is_written_by_itself(
    postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with PostgresStore(postgres_dsn) as store:
        await store.write_all([addition(number, raw(0, "x")) for number in range(3)])
        async with await psycopg.AsyncConnection.connect(postgres_dsn) as other:
            await other.execute("UPDATE lucid.transcript SET summary = '!' WHERE key = 2")
        results = await store.write_all([addition(number, raw(1, "y")) for number in range(3)])
    assert [type(one).__name__ for one in results].count("list") == 2
    assert "writing 3 transcripts one by one, not together" in caplog.text


async def test_a_summary_that_stays_as_it_is_can_still_be_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, new_key())
    await store.write_all([addition(number, raw(0, "first")) for number in (1, 2)])
    for turn in range(3):
        note = b'{"type":"mode","mode":"plan","n":%d}' % turn
        await store.write(addition(1).key, [note])
        await store.write_all([addition(number, note, offsets=[turn]) for number in (1, 2)])
    summaries = await store.list_session_summaries("p")
    assert [one["data"]["first_prompt"] for one in summaries] == ["first"] * 2
