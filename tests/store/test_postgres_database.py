"""The PostgreSQL database: its schema, its settings, and refusals with words that help."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from claude_agent_sdk import SessionKey
from psycopg.rows import dict_row

from supervisor.errors import StoreError
from supervisor.store.postgres import PostgresStore
from supervisor.store.postgres_query import STATEMENTS, Connection
from supervisor.store.postgres_schema import SCRIPTS, migrate
from supervisor.store.postgres_server import Address, explained
from supervisor.store.statements import SQL
from tests.postgres import PostgresServer

pytestmark = pytest.mark.anyio

KEY = SessionKey(project_key="p", session_id="s")
AT_ONCE = timedelta(0)
BRIEF = timedelta(milliseconds=50)


@pytest.fixture
async def raw(postgres_dsn: str) -> AsyncIterator[Connection]:
    """A connection of no store's."""
    async with await psycopg.AsyncConnection.connect(
        postgres_dsn, autocommit=True, row_factory=dict_row
    ) as connection:
        yield connection


# Schema and migrations


async def _make_version_1(raw: Connection) -> None:
    await raw.execute("CREATE SCHEMA lucid")
    script = SQL / "postgres" / "migrations" / "0001_initial.sql"
    await raw.execute(script.read_bytes())
    await raw.execute("INSERT INTO lucid.schema_version VALUES (1)")


async def test_migrating_from_the_first_version_equals_the_schema(
    raw: Connection, postgres_dsn: str, postgres_server: PostgresServer
) -> None:
    await _make_version_1(raw)
    await migrate(raw, Address(postgres_dsn))
    migrated = postgres_server.dump(postgres_dsn)
    await raw.execute("DROP SCHEMA lucid CASCADE")
    async with PostgresStore(postgres_dsn):
        assert postgres_server.dump(postgres_dsn) == migrated
    assert "CREATE TABLE lucid.entry" in migrated
    versions = await (await raw.execute("SELECT number FROM lucid.schema_version")).fetchall()
    assert versions == [{"number": SCRIPTS.latest}]


def test_migrations_have_the_numbers_of_sqlites() -> None:
    """One that SQLite alone needed is missing here; a version says the same of both."""
    ours = [file.name for file in sorted((SQL / "postgres" / "migrations").iterdir())]
    theirs = [file.name for file in sorted((SQL / "sqlite" / "migrations").iterdir())]
    assert [name for name in theirs if name not in ours] == ["0002_leases.sql"]
    assert set(ours) <= set(theirs)
    assert SCRIPTS.latest == int(theirs[-1][:4])


async def test_a_schema_that_the_administrator_made_is_used(
    raw: Connection, postgres_dsn: str
) -> None:
    await raw.execute("CREATE SCHEMA lucid")
    async with PostgresStore(postgres_dsn) as store:
        await store.write(KEY, [b"{}"])


async def test_many_that_open_a_new_store_at_once_can_all_use_it(postgres_dsn: str) -> None:
    stores = [PostgresStore(postgres_dsn) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.write(KEY, [b"{}"]) for store in stores))
    assert len([entry async for entry in stores[0].entries("s")]) == 4
    for store in stores:
        await store.close()


async def test_every_statement_is_valid_and_used(raw: Connection, postgres_dsn: str) -> None:
    files = [*SQL.parent.glob("postgres*.py"), SQL.parent / "rows.py"]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    assert [name for name in STATEMENTS if f'"{name}"' not in code] == []
    async with PostgresStore(postgres_dsn):
        for name in STATEMENTS.keys() - {"create_schema"}:  # which takes no parameters
            await raw.execute(f"PREPARE {name} AS ".encode() + _numbered(STATEMENTS[name]))


def _numbered(statement: bytes) -> bytes:
    """A statement with its parameters as PostgreSQL itself writes them."""
    names = list(dict.fromkeys(re.findall(rb"%\((\w+)\)[sb]", statement)))
    return re.sub(rb"%\((\w+)\)[sb]", lambda found: b"$%d" % (names.index(found[1]) + 1), statement)


# Settings


async def test_commits_wait_for_the_disk_whatever_the_server_was_told(
    raw: Connection, postgres_dsn: str
) -> None:
    name = raw.info.dbname
    await raw.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    try:
        async with PostgresStore(postgres_dsn) as store:
            shown = await store._read(lambda db: db._connection.execute("SHOW synchronous_commit"))
            assert await shown.fetchone() == {"synchronous_commit": "on"}
    finally:
        await raw.execute(f"ALTER DATABASE {name} RESET synchronous_commit".encode())


async def test_long_entries_are_compressed_where_that_helps(
    raw: Connection, postgres_dsn: str
) -> None:
    async with PostgresStore(postgres_dsn) as store:
        await store.write(KEY, [b"x" * 4_095, b"x" * 4_096])
    kept = await raw.execute(
        "SELECT compressed, octet_length(raw) AS size FROM lucid.entry ORDER BY seq"
    )
    short, long = await kept.fetchall()
    assert short == {"compressed": False, "size": 4_095}
    assert long["compressed"]
    assert long["size"] < 100


async def test_a_store_is_found_again_after_it_was_closed(postgres_dsn: str) -> None:
    store = PostgresStore(postgres_dsn)
    for _ in range(2):
        async with store:
            await store.write(KEY, [b'{"uuid":"a"}'])
    async with store:
        await store.open()
        assert await store.load(KEY) == [{"uuid": "a"}]
    await store.close()


# What is refused


async def test_a_newer_store_is_refused(raw: Connection, postgres_dsn: str) -> None:
    async with PostgresStore(postgres_dsn):
        await raw.execute("UPDATE lucid.schema_version SET number = number + 2")
    with pytest.raises(
        StoreError,
        match=rf"has schema version {SCRIPTS.latest + 2} and this Lucid knows versions up to "
        rf"{SCRIPTS.latest}: .* upgrade lucid-supervisor",
    ):
        await PostgresStore(postgres_dsn).open()


async def test_another_programs_schema_is_left_as_it_was(
    raw: Connection, postgres_dsn: str, postgres_server: PostgresServer
) -> None:
    await raw.execute("CREATE SCHEMA lucid CREATE TABLE dream (night date)")
    before = postgres_server.dump(postgres_dsn)
    with pytest.raises(StoreError, match="has a schema `lucid` that is another program's"):
        await PostgresStore(postgres_dsn).open()
    assert postgres_server.dump(postgres_dsn) == before


async def test_a_database_that_cannot_hold_every_text_is_refused(
    postgres_server: PostgresServer,
) -> None:
    postgres_server.execute("CREATE DATABASE old ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreError, match=r"encoding LATIN1, .* createdb --encoding=UTF8"):
        await PostgresStore(postgres_server.dsn("old")).open()


async def test_who_may_not_connect_is_told_at_once(postgres_server: PostgresServer) -> None:
    for dsn in (postgres_server.dsn("nowhere"), postgres_server.dsn("postgres", user="nobody")):
        with pytest.raises(StoreError, match=r"refuses the connection \(.* does not exist\)"):
            await PostgresStore(dsn).open()


async def test_who_may_not_make_tables_is_told_which_rights_to_ask_for(
    postgres_dsn: str, postgres_server: PostgresServer
) -> None:
    postgres_server.execute("CREATE ROLE guest LOGIN")
    with pytest.raises(StoreError, match=r"may not be used so \(permission denied .*\); grant"):
        await PostgresStore(postgres_dsn.replace("lucid@", "guest@")).open()


async def test_a_server_that_is_away_at_the_start_is_tried_for_the_stated_time(
    postgres_dsn: str, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    postgres_server.stop()
    try:
        with pytest.raises(StoreError, match=r"cannot be reached \(.*\); check that the server"):
            await PostgresStore(postgres_dsn, connect_within=AT_ONCE).open()
        assert caplog.messages == []
        store = PostgresStore(postgres_dsn)
        opening = asyncio.create_task(store.open())
        while not caplog.messages:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)
        assert "cannot be reached" in caplog.text
        assert "trying for 30 s" in caplog.text
    finally:
        postgres_server.start()
    await opening
    await store.close()


async def test_what_takes_too_long_says_so_and_changes_nothing(
    raw: Connection, postgres_dsn: str
) -> None:
    async with PostgresStore(postgres_dsn, statement_timeout=BRIEF) as store:
        await store.write(KEY, [b'{"uuid":"a"}'])
        async with raw.transaction():
            await raw.execute("SELECT FROM lucid.session FOR UPDATE")
            with pytest.raises(StoreError, match=r"took too long to answer \(.*\); look for what"):
                await store.write(KEY, [b'{"uuid":"b"}'])
        assert await store.load(KEY) == [{"uuid": "a"}]
        await store.write(KEY, [b'{"uuid":"c"}'])


async def test_more_calls_than_connections_wait_for_each_other(postgres_dsn: str) -> None:
    async with PostgresStore(postgres_dsn, connections=2) as store:
        keys = [SessionKey(project_key="p", session_id=f"s{number}") for number in range(30)]
        await asyncio.gather(*(store.write(key, [b"{}"]) for key in keys))
        assert len(await store.sessions()) == 30


async def test_a_store_that_is_not_open_says_so(postgres_dsn: str) -> None:
    with pytest.raises(StoreError, match="is not open"):
        await PostgresStore(postgres_dsn).sessions()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (psycopg.errors.DiskFull("no space left"), r"disk is full \(no space left\); free some"),
        (psycopg.errors.ReadOnlySqlTransaction("x"), "read-only .* use the primary server"),
        (psycopg.errors.DataCorrupted("x"), "is damaged .* restore a backup"),
        (psycopg.errors.AdminShutdown("x"), "cannot be reached .* check that the server runs"),
        (psycopg.errors.UniqueViolation("x"), "failed .* report this as a bug"),
    ],
)
def test_a_failure_says_what_where_and_what_to_do(error: psycopg.Error, said: str) -> None:
    with (
        pytest.raises(StoreError, match=rf"^the store postgresql://db/agents .*{said}"),
        explained(Address("postgresql://lucid@db/agents")),
    ):
        raise error


# Addresses


def test_an_address_is_shown_without_its_password() -> None:
    address = Address("postgresql://lucid:s3cret@db:5433/agents?password=s3cret&sslmode=require")
    assert str(address) == "postgresql://db:5433/agents"
    assert "s3cret" not in repr(address)
    assert "s3cret" not in repr(vars(PostgresStore("postgresql://lucid:s3cret@db/agents")))


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://lucid:s3cret@db:port/agents",
        "postgresql://lucid:s3@cret@db/agents",
        "postgresql://lucid:s3cret%@db/agents",
        "postgresql://lucid:s3cret@db/agents?colour=red",
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(dsn: str) -> None:
    with pytest.raises(StoreError, match="no address of a PostgreSQL database; write") as refusal:
        PostgresStore(dsn)
    assert "cret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


async def test_no_password_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    dsn = f"postgresql://lucid:s3cret@/agents?host={tmp_path}"
    store = PostgresStore(dsn, connect_within=timedelta(milliseconds=300))
    with pytest.raises(StoreError) as refusal:
        await store.open()
    assert str(tmp_path) in caplog.text
    assert "s3cret" not in caplog.text + str(refusal.value)
