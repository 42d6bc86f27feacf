"""The SQLite file: private, compressed, migrated, and refused with words that help."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from claude_agent_sdk import SessionKey

from supervisor.errors import StoreError
from supervisor.store.sqlite import SqliteStore
from supervisor.store.sqlite_file import APPLICATION_ID, SCRIPTS, connect, migrate
from supervisor.store.statements import SQL, load_statements, split_script

pytestmark = pytest.mark.anyio

KEY = SessionKey(project_key="p", session_id="s")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lucid" / "store.db"


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def _size(path: Path) -> int:
    return path.stat().st_size


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_file_and_folder_are_their_owners_only(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.write(KEY, [b"{}"])
        assert _mode(path.parent) == 0o700
        companions = _names(path.parent)
        assert companions == ["store.db", "store.db-shm", "store.db-wal"]
        assert [_mode(path.with_name(name)) for name in companions] == [0o600] * 3


async def test_a_store_is_found_again_after_it_was_closed(path: Path) -> None:
    store = SqliteStore(path)
    for _ in range(2):
        async with store:
            await store.write(KEY, [b'{"uuid":"a"}'])
    async with store:
        assert await store.load(KEY) == [{"uuid": "a"}]
    await store.close()


@pytest.mark.parametrize("memory", [None, Path(":memory:")])
async def test_a_store_in_memory_touches_no_file(
    memory: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with SqliteStore(memory) as store:
        await store.write(KEY, [b'{"type":"x"}'])
        assert await store.load(KEY) == [{"type": "x"}]
    assert _names(tmp_path) == []


async def test_every_commit_is_synced_to_disk(path: Path) -> None:
    with closing(connect(path, 1.0)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1


async def test_long_entries_are_compressed_where_that_helps(path: Path) -> None:
    short, long = b"x" * 4_095, b"x" * 4_096
    async with SqliteStore(path) as store:
        await store.write(KEY, [short, long])
        assert [entry.raw async for entry in store.entries("s")] == [short, long]
    with closing(sqlite3.connect(path)) as db:
        kept = db.execute("SELECT compressed, length(raw) FROM entry ORDER BY seq").fetchall()
    assert kept[0] == (0, 4_095)
    assert kept[1][0] == 1
    assert kept[1][1] < 100


async def test_the_file_shrinks_when_a_session_is_deleted(path: Path) -> None:
    incompressible = [bytes(range(256)) * 15] * 500
    async with SqliteStore(path) as store:
        await store.write(KEY, incompressible[:50])
        await store.write(SessionKey(project_key="p", session_id="old"), incompressible)
        lease = await store.acquire_lease("old", owner="one", ttl=timedelta(hours=1))
        assert await store.delete_session(lease) == 500
    # It was closed, which moved the log into the file.
    assert _size(path) < 400_000


async def test_a_write_waits_for_another_process_and_blocks_nobody(path: Path) -> None:
    async with SqliteStore(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            write = asyncio.create_task(store.write(KEY, [b"{}"]))
            for _ in range(3):
                await asyncio.sleep(0)
            assert not write.done()
            other.execute("ROLLBACK")
            assert len(await write) == 1


# Migrations


def _schema(db: sqlite3.Connection) -> list[tuple[str, str, str]]:
    rows = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY 1, 2")
    return [(kind, name, _normalised(sql)) for kind, name, sql in rows]


def _normalised(sql: str) -> str:
    """Without comments, and without the white space that adding a column leaves."""
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(" ".join(split_script(sql)).split()))


def _at_version_1(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    script = SQL / "sqlite" / "migrations" / "0001_initial.sql"
    for statement in split_script(script.read_text(encoding="utf-8")):
        db.execute(statement)
    db.execute("PRAGMA user_version = 1")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    return db


def test_migrating_from_the_first_version_equals_the_schema(tmp_path: Path) -> None:
    with closing(_at_version_1(tmp_path / "old.db")) as old, closing(connect(None, 1.0)) as new:
        migrate(old)
        assert _schema(old) == _schema(new)
        for db in (old, new):
            assert db.execute("PRAGMA user_version").fetchone()[0] == SCRIPTS.latest
            assert db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID


def test_migrations_are_numbered_without_gaps() -> None:
    names = _names(SQL / "sqlite" / "migrations")
    assert [int(name[:4]) for name in names] == list(range(1, SCRIPTS.latest + 1))


async def test_an_old_store_is_brought_up_to_date_and_keeps_its_entries(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(_at_version_1(path)) as db:
        db.execute(
            "INSERT INTO session (key, id, project_key, created_at, updated_at, state,"
            " state_reason, last_seq) VALUES (1, 's', 'p', 0, 0, 'running', '', 1)"
        )
        db.execute("INSERT INTO transcript VALUES (1, 1, 'p', 's', '', 0, NULL)")
        db.execute("INSERT INTO entry VALUES (1, 1, 1, 'a', NULL, 0, 0, ?)", (b'{"uuid":"a"}',))
    async with SqliteStore(path) as store:
        assert await store.load(KEY) == [{"uuid": "a"}]
        (entry,) = await store.write(KEY, [b'{"uuid":"a"}', b'{"uuid":"b"}'])
        assert entry.seq == 2


async def test_two_that_open_a_new_store_at_once_both_can_use_it(path: Path) -> None:
    stores = [SqliteStore(path) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.write(KEY, [b"{}"]) for store in stores))
    assert len([entry async for entry in stores[0].entries("s")]) == 4
    for store in stores:
        await store.close()


# What is refused


def _newer(path: Path) -> None:
    with closing(connect(path, 1.0)) as db:
        db.execute(f"PRAGMA user_version = {SCRIPTS.latest + 2}")


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE recipe (name)")


def _text(path: Path) -> None:
    path.write_text("dear diary, " * 100)


def _damaged(path: Path) -> None:
    with closing(connect(path, 1.0)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(whole[:1024] + b"\xff" * (len(whole) - 1024))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            _newer,
            rf"has schema version {SCRIPTS.latest + 2} and this Lucid knows versions up to "
            rf"{SCRIPTS.latest}: .* upgrade lucid-supervisor, or use another --store",
        ),
        (_foreign, "is another program's database, not a store; use another --store"),
        (_text, r"is not a store: the file is no SQLite database .* use another --store"),
        (_damaged, r"is damaged .* sqlite3 FILE .recover"),
        (Path.mkdir, r"cannot be opened \(Is a directory\); check that its folder exists"),
    ],
)
async def test_a_file_that_is_no_store_is_refused(
    spoil: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "spoilt.db"
    spoil(path)
    with pytest.raises(StoreError, match=said) as refusal:
        await SqliteStore(path).open()
    assert str(path) in str(refusal.value)


async def test_another_programs_database_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "recipes.db"
    _foreign(path)
    before = path.read_bytes()
    with pytest.raises(StoreError):
        await SqliteStore(path).open()
    assert path.read_bytes() == before
    assert _names(tmp_path) == ["recipes.db"]


async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot be opened .* use another --store"):
        await SqliteStore(tmp_path / "file" / "store.db").open()


async def test_a_store_that_stays_locked_says_so(path: Path) -> None:
    async with SqliteStore(path, busy_timeout=0.01) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match=r"is locked by another process .* try again"):
                await store.write(KEY, [b"{}"])
        assert len(await store.write(KEY, [b"{}"])) == 1


async def test_a_full_disk_loses_the_write_and_nothing_else(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.write(KEY, [b'{"uuid":"a"}'])
        await store._run(lambda database: database._db.execute("PRAGMA max_page_count = 1"))
        incompressible = bytes(range(256)) * 15
        with pytest.raises(StoreError, match=r"the disk is full .* free some space"):
            await store.write(KEY, [incompressible] * 200)
        await store._run(lambda database: database._db.execute("PRAGMA max_page_count = 100000"))
        assert [entry.seq for entry in await store.write(KEY, [b'{"uuid":"b"}'])] == [2]
        assert await store.load(KEY) == [{"uuid": "a"}, {"uuid": "b"}]


async def test_a_store_that_is_not_open_says_so(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="is not open"):
        await store.sessions()


# Named statements


def test_statements_are_read_by_name(tmp_path: Path) -> None:
    file = tmp_path / "queries.sql"
    file.write_text("-- about\n\n-- name: one\nSELECT 1;\n-- name: two\nSELECT\n    2;\n")
    assert load_statements(file) == {"one": "SELECT 1;", "two": "SELECT\n    2;"}


@pytest.mark.parametrize("text", ["-- name: a\n", "-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;\n"])
def test_an_empty_or_repeated_statement_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "queries.sql"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"queries.sql: the statement 'a' is empty or given twice"):
        load_statements(file)


def test_every_statement_is_valid_and_used() -> None:
    statements = load_statements(SQL / "sqlite" / "queries.sql")
    files = [*SQL.parent.glob("sqlite*.py"), SQL.parent / "rows.py"]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    assert [name for name in statements if f'"{name}"' not in code] == []
    with closing(connect(None, 1.0)) as db:
        for statement in statements.values():
            names = re.findall(r":(\w+)", statement)
            db.execute(f"EXPLAIN {statement}", dict.fromkeys(names))
