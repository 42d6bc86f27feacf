"""A server that restarts, and a disk that is full: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from supervisor.core.lease import Lease
from supervisor.errors import StoreAway
from supervisor.store.connect import store_at
from supervisor.store.postgres import PostgresStore
from supervisor.store.spool import SpooledStore
from supervisor.store.sqlite import SqliteStore
from supervisor.store.sqlite_database import Database
from tests.postgres import PostgresServer
from tests.store.relay import Loss, relay
from tests.store.spooling import KEY, Heard, held, kept, raw, spooled

pytestmark = pytest.mark.anyio

SOON = 30.0
BRIEF = timedelta(milliseconds=100)


# PostgreSQL


@pytest.fixture
async def inner(postgres_dsn: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(postgres_dsn, reconnect_within=BRIEF) as store:
        yield store


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["in order", "crash"])
async def test_a_server_that_restarts_loses_and_doubles_nothing_and_numbers_go_on(
    inner: PostgresStore, postgres_server: PostgresServer, how: signal.Signals, tmp_path: Path
) -> None:
    heard = Heard()
    async with spooled(inner, tmp_path / "spool", heard) as store:
        lease = await held(store)
        told: dict[int, str | None] = {}
        under_way, stopped = asyncio.Event(), asyncio.Event()

        async def write() -> None:
            for number in range(60):
                raws = [raw(f"a{number}"), raw(number=number)]
                for entry in await store.write(KEY, raws, lease=lease):
                    told[entry.seq] = entry.uuid
                if number == 20:
                    under_way.set()
                if number == 40:
                    await stopped.wait()
                if number == 45:
                    postgres_server.start()  # it dies with the thread that started it

        async def stop() -> None:
            await under_way.wait()
            await asyncio.to_thread(postgres_server.stop, how)
            stopped.set()

        await asyncio.gather(write(), stop())
        assert await store.back(SOON)

    assert {entry.seq: entry.uuid for entry in await kept(inner)} == told
    assert list(told) == list(range(1, 121))
    assert heard.away
    assert heard.refusals == []


@pytest.mark.parametrize("loss", Loss)
async def test_a_write_of_unknown_fate_goes_in_once_as_it_was_numbered(
    postgres_dsn: str, tmp_path: Path, loss: Loss
) -> None:
    server = Path(parse_qs(urlsplit(postgres_dsn).query)["host"][0])
    line_folder = tmp_path / "line"
    line_folder.mkdir()
    dsn, heard = postgres_dsn.replace(str(server), str(line_folder)), Heard()
    async with (
        relay(server, line_folder) as line,
        PostgresStore(dsn, statement_timeout=3 * BRIEF, reconnect_within=BRIEF) as inner,
        spooled(inner, tmp_path / "spool", heard) as store,
    ):
        lease = await held(store)
        await store.write(KEY, [raw("first")], lease=lease)
        line.lose(loss, then_away=True)
        told = await store.write(KEY, [raw("a"), raw(mode="plan")], lease=lease)
        told += await store.write(KEY, [raw("b"), raw(mode="plan")], lease=lease)
        assert store.away
        line.away = False
        assert await store.back(SOON)
        assert (await kept(inner))[1:] == told
    assert [entry.seq for entry in told] == [2, 3, 4, 5]
    assert heard.refusals == []


async def test_a_server_that_is_away_at_the_start_is_tried_for_the_time_that_is_set(
    postgres_dsn: str, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    postgres_server.stop()
    try:
        store = store_at(postgres_dsn, wait=timedelta(milliseconds=300))
        with pytest.raises(StoreAway, match="cannot be reached") as caught:
            await store.open()
    finally:
        postgres_server.start()

    assert "\n" not in str(caught.value)
    waits = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.message.endswith("trying for 0.3 s") for record in waits] == [True]


async def test_a_long_absence_is_told_twice_and_not_with_every_attempt(
    inner: PostgresStore,
    postgres_server: PostgresServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with spooled(inner, tmp_path / "spool") as store:
        lease = await held(store)
        postgres_server.stop()
        try:
            await store.write(KEY, [raw("a")], lease=lease)
            assert not await store.back(1.5)
        finally:
            postgres_server.start()
        assert await store.back(SOON)
    errors = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 2
    assert "what is written waits in" in errors[0]
    assert "1 operations that waited went in" in errors[1]


# SQLite


async def allow(store: SqliteStore, more_pages: int) -> None:
    """Let the file grow by so many pages and no more, as on a disk that is full then."""

    def limit(database: Database) -> None:
        pages = database._db.execute("PRAGMA page_count").fetchone()[0]
        database._db.execute(f"PRAGMA max_page_count = {pages + more_pages}")

    await store._run(limit)


async def write_much(store: SpooledStore, lease: Lease) -> None:
    for number in range(40):
        await store.write(KEY, [raw(None, number=number, text="x" * 3000)], lease=lease)


async def test_a_database_that_cannot_grow_takes_it_all_once_it_can(tmp_path: Path) -> None:
    heard = Heard()
    path = tmp_path / "lucid.db"
    async with (
        SqliteStore(path) as inner,
        spooled(inner, tmp_path / "spool", heard) as store,
    ):
        lease = await held(store)
        await allow(inner, more_pages=20)
        await write_much(store, lease)
        assert store.away
        assert "the disk is full" in str(heard.away[0])
        few = len(await kept(inner))
        await allow(inner, more_pages=10_000)
        assert await store.back(SOON)
        entries = await kept(inner)

    assert 0 < few < 40
    assert [(entry.seq, entry.raw) for entry in entries] == [
        (number + 1, raw(None, number=number, text="x" * 3000)) for number in range(40)
    ]
    assert heard.refusals == []


FULL_DISK = """
import asyncio, os, sqlite3, sys
from pathlib import Path
from supervisor.store.sqlite import SqliteStore
from tests.store.spooling import Heard, held, kept, raw, spooled
from tests.store.test_stores_that_fail import SOON, write_much

def fill(path):
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass

async def main(disk):
    heard = Heard()
    async with SqliteStore(disk / "lucid.db") as inner:
        async with spooled(inner, disk / "spool", heard) as store:
            lease = await held(store)
            fill(disk / "ballast")
            await write_much(store, lease)
            assert store.away
            assert "the disk is full" in str(heard.away[0]), heard.away
            os.unlink(disk / "ballast")
            assert await store.back(SOON)
        entries = await kept(inner)
    assert [entry.seq for entry in entries] == list(range(1, 41))
    expected = [raw(None, number=number, text="x" * 3000) for number in range(40)]
    assert [entry.raw for entry in entries] == expected
    assert heard.refusals == []
    with sqlite3.connect(disk / "lucid.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    assert list((disk / "spool").iterdir()) == []

asyncio.run(main(Path(sys.argv[1])))
"""
MOUNT = 'mount -t tmpfs -o size=2m lucid "$1" && exec "$2" -c "$3" "$1"'
UNSHARED = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]


def test_a_disk_that_is_full_for_store_and_spool_damages_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        probe = [*UNSHARED, MOUNT, "sh", str(disk), "true", ""]
        subprocess.run(probe, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk of a size of its own can be had here: {error}")
    ended = subprocess.run(
        [*UNSHARED, MOUNT, "sh", str(disk), sys.executable, FULL_DISK],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
