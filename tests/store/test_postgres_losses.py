"""Connections are lost and servers restart: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from claude_agent_sdk import SessionKey

from supervisor.errors import StoreAway, StoreError
from supervisor.store.interface import Addition
from supervisor.store.postgres import PostgresStore
from tests.postgres import PostgresServer
from tests.store.relay import Loss, Relay, relay

pytestmark = pytest.mark.anyio

KEY = SessionKey(project_key="p", session_id="s")
LONG = timedelta(hours=1)
KILL_ALL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lucid'
"""


def _raw(uuid: str | None = None, **fields: object) -> bytes:
    return json.dumps({"type": "x", **fields} if uuid is None else {"uuid": uuid}).encode()


async def _uuids(store: PostgresStore) -> list[str | None]:
    entries = [entry async for entry in store.entries("s")]
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    return [entry.uuid for entry in entries]


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(postgres_dsn) as store:
        await store.write(KEY, [_raw("first")])
        yield store


# The answer to a COMMIT may be lost, or the COMMIT itself


@pytest.fixture
async def lossy(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[tuple[PostgresStore, Relay]]:
    """A store behind a relay."""
    server = Path(parse_qs(urlsplit(postgres_dsn).query)["host"][0])
    async with relay(server, tmp_path) as line:
        dsn = postgres_dsn.replace(str(server), str(tmp_path))
        brief = timedelta(milliseconds=300)
        async with PostgresStore(dsn, statement_timeout=brief, reconnect_within=brief) as store:
            await store.write(KEY, [_raw("first")])
            yield store, line


@pytest.mark.parametrize("loss", Loss)
async def test_a_write_whose_connection_is_lost_is_done_once_and_says_what_was_new(
    lossy: tuple[PostgresStore, Relay], loss: Loss
) -> None:
    store, line = lossy
    raws = [_raw("first"), _raw("second"), _raw(mode="plan"), _raw(mode="plan")]
    line.lose(loss)
    stored = await store.write(KEY, raws)
    assert line.losses == 1
    assert [(entry.seq, entry.uuid) for entry in stored] == [(2, "second"), (3, None), (4, None)]
    assert await _uuids(store) == ["first", "second", None, None]
    assert [entry.seq for entry in await store.write(KEY, [_raw("third")])] == [5]


@pytest.mark.parametrize("loss", Loss)
async def test_writes_that_share_a_lost_connection_are_done_once(
    lossy: tuple[PostgresStore, Relay], loss: Loss
) -> None:
    store, line = lossy
    other = SessionKey(project_key="p", session_id="other")
    await store.write(other, [_raw("first")])
    line.lose(loss)
    results = await store.write_all(
        [
            Addition(KEY, [_raw("first"), _raw("second")]),
            Addition(other, [_raw(mode="plan")]),
            Addition(KEY, [_raw(mode="plan"), _raw("second")]),
        ]
    )
    assert line.losses == 1
    told = [[entry.seq for entry in one] for one in results if isinstance(one, list)]
    assert told == [[2], [2], [3]]
    assert await _uuids(store) == ["first", "second", None]
    assert len([entry async for entry in store.entries("other")]) == 2


@pytest.mark.parametrize(("loss", "kept"), [(Loss.REQUEST, False), (Loss.ANSWER, True)])
async def test_a_write_that_nobody_knows_the_fate_of_can_be_repeated_under_its_name(
    lossy: tuple[PostgresStore, Relay], loss: Loss, kept: bool
) -> None:
    store, line = lossy
    raws = [_raw("second"), _raw(mode="plan"), _raw(mode="plan")]
    line.lose(loss, then_away=True)
    with pytest.raises(StoreError, match="cannot be reached"):
        await store.write(KEY, raws, batch="mine")
    line.away = False
    assert len(await store.write(KEY, raws, batch="mine")) == (0 if kept else 3)
    assert await _uuids(store) == ["first", "second", None, None]


@pytest.mark.parametrize("loss", Loss)
async def test_a_lease_asked_for_on_a_lost_connection_is_given_once(
    lossy: tuple[PostgresStore, Relay], loss: Loss
) -> None:
    store, line = lossy
    line.lose(loss)
    lease = await store.acquire_lease("s", owner="one", ttl=LONG)
    assert line.losses == 1
    assert lease.epoch == 1
    assert await store.lease("s") == lease


async def test_a_new_session_whose_connection_is_lost_is_made_once(
    lossy: tuple[PostgresStore, Relay],
) -> None:
    store, line = lossy
    line.lose(Loss.ANSWER)
    other = SessionKey(project_key="q", session_id="s")
    (entry,) = await store.write(other, [_raw("a")])
    assert line.losses == 1
    assert entry.session_id == "s-2"
    assert len(await store.sessions()) == 2


# Connections that died unnoticed


async def test_connections_that_died_while_idle_are_replaced(
    store: PostgresStore, postgres_server: PostgresServer
) -> None:
    await asyncio.gather(*(store.sessions() for _ in range(20)))
    for call in (store.write(KEY, [_raw("second")]), store.session("s"), store.load(KEY)):
        postgres_server.execute(KILL_ALL)
        assert await call
    assert await _uuids(store) == ["first", "second"]


async def test_a_call_that_is_cancelled_leaves_its_connection_usable(
    store: PostgresStore, postgres_server: PostgresServer
) -> None:
    for _ in range(20):
        write = asyncio.create_task(store.write(KEY, [_raw()]))
        await asyncio.sleep(0.001)
        write.cancel()
        await asyncio.wait([write])
    (entry,) = await store.write(KEY, [_raw("last")])
    assert (await _uuids(store))[entry.seq - 1] == "last"
    open_now = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lucid'"
    assert postgres_server.execute(open_now) <= [(4,)]


PROGRAM = """
import asyncio, sys
from datetime import timedelta
from supervisor.store.postgres import PostgresStore

async def main():
    store = PostgresStore(sys.argv[1], reconnect_within=timedelta(hours=1))
    await store.open()
    print("open", flush=True)
    sys.stdin.readline()
    asyncio.create_task(store.sessions())
    await asyncio.sleep(0.1)
    raise SystemExit(7)

asyncio.run(main())
"""


def test_a_program_that_fails_while_the_server_is_away_ends(
    postgres_dsn: str, postgres_server: PostgresServer
) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", PROGRAM, postgres_dsn]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "open\n"
        postgres_server.stop()
        try:
            program.communicate("\n", timeout=20)
        finally:
            program.kill()
            postgres_server.start()
    assert program.returncode == 7


# Restarts


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["in order", "crash"])
async def test_a_restart_in_the_middle_of_writes_loses_and_doubles_nothing(
    store: PostgresStore, postgres_server: PostgresServer, how: signal.Signals
) -> None:
    written: list[tuple[int, str]] = []
    under_way = asyncio.Event()

    async def writer(name: str) -> None:
        for number in range(30):
            label = f"{name}-{number}"
            stored = await store.write(KEY, [_raw(label), _raw(nameless=label)])
            written.extend((entry.seq, label) for entry in stored)
            if number == 10:
                under_way.set()

    async def restarts() -> None:
        await under_way.wait()
        postgres_server.stop(how)
        await asyncio.sleep(0)
        postgres_server.start()

    await asyncio.gather(*(writer(f"w{number}") for number in range(4)), restarts())
    entries = [entry async for entry in store.entries("s")]
    assert [entry.seq for entry in entries] == list(range(1, 4 * 30 * 2 + 2))
    expected = [(1, "first"), *sorted(written)]
    labels = [json.loads(entry.raw).get("nameless", entry.uuid) for entry in entries]
    assert expected == list(zip(range(1, len(entries) + 1), labels, strict=True))


async def test_a_restart_between_writes_that_are_made_together_loses_and_doubles_nothing(
    store: PostgresStore, postgres_server: PostgresServer
) -> None:
    keys = [SessionKey(project_key="p", session_id=f"s{number}") for number in range(8)]
    await asyncio.gather(*(store.write(key, [_raw("first")]) for key in keys))
    under_way = asyncio.Event()

    async def writer(mine: list[SessionKey]) -> None:
        for number in range(30):
            raws = [_raw(f"u{number}"), _raw(nameless=number)]
            results = await store.write_all([Addition(key, raws) for key in mine])
            expected = [2 * number + 2, 2 * number + 3]
            for result in results:
                assert isinstance(result, list)
                assert [entry.seq for entry in result] == expected
            if number == 10:
                under_way.set()

    async def restarts() -> None:
        await under_way.wait()
        postgres_server.restart(signal.SIGQUIT)

    await asyncio.gather(writer(keys[:4]), writer(keys[4:]), restarts())
    for key in keys:
        entries = [entry async for entry in store.entries(key["session_id"])]
        assert [entry.seq for entry in entries] == list(range(1, 62))


async def test_while_the_server_is_away_several_writes_are_told_so_at_once(
    postgres_dsn: str, postgres_server: PostgresServer
) -> None:
    soon = timedelta(milliseconds=50)
    async with PostgresStore(postgres_dsn, reconnect_within=soon) as store:
        additions = [Addition(KEY, [_raw("a")], offsets=[0]), Addition(KEY, [_raw("b")])]
        await store.write_all(additions)
        postgres_server.stop()
        try:
            with pytest.raises(StoreAway, match="cannot be reached"):
                await store.write_all(additions)
        finally:
            postgres_server.start()
        assert await store.write_all(additions) == [[], []]


async def test_a_server_that_stays_away_is_told_in_one_sentence_and_used_when_it_is_back(
    postgres_dsn: str, postgres_server: PostgresServer
) -> None:
    soon = timedelta(milliseconds=50)
    async with PostgresStore(postgres_dsn, reconnect_within=soon) as store:
        await store.write(KEY, [_raw("first")])
        postgres_server.stop()
        try:
            for _ in range(2):
                with pytest.raises(StoreError, match=r"cannot be reached \(.*\); check that"):
                    await store.write(KEY, [_raw("second")])
        finally:
            postgres_server.start()
        await store.write(KEY, [_raw("third")])
        assert await _uuids(store) == ["first", "third"]
