"""With a key in the environment, nothing of a transcript stands readable in the store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psycopg
import pytest
from claude_agent_sdk import SessionKey

from supervisor.core.intent import Intent
from supervisor.core.sent import SentPrompt
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.core.word import Saying, Word
from supervisor.errors import StoreError
from supervisor.privacy.keyring import VARIABLE, Keyring, new_key
from supervisor.store import sealing
from supervisor.store.files import FilesRecord
from supervisor.store.folders import FileMark
from supervisor.store.interface import Incident, Store
from supervisor.store.rows import kept
from supervisor.store.sqlite import SqliteStore
from supervisor.store.statements import SQL
from tests.store.spooling import held, locked, spooled

if TYPE_CHECKING:
    from tests.store.conftest import Backend

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
KEY = SessionKey(project_key="p", session_id="s")
MARK = "the-marked-words"
RAWS = [
    json.dumps({"type": "user", "uuid": "a", "message": {"content": MARK}}).encode(),
    json.dumps({"type": "user", "uuid": "b", "text": f"{MARK} " * 2_000}).encode(),
    f"{MARK}: no JSON".encode(),
]


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    drawn = new_key()
    monkeypatch.setenv(VARIABLE, drawn)
    return drawn


def _verdict() -> Verdict:
    return Verdict(
        session_id="s",
        transcript="s",
        seq=1,
        onset_seq=1,
        detector="loop",
        failure_mode=FailureMode.LOOP,
        severity=Severity.WARNING,
        confidence=0.9,
        summary=MARK,
        evidence=Evidence(entries=(1,), facts={"tool": MARK}),
    )


_RECORDS = (
    _verdict(),
    Intent(
        session_id="s",
        call_id="c",
        tool="Bash",
        input=msgspec.Raw(json.dumps({"command": MARK}).encode()),
        at=NOW,
    ),
    Incident(session_id="s", seq=1, at=NOW, source="ingest", place="entry 1", message=MARK),
    SentPrompt(session_id="s", uuid="u", at=NOW, message=msgspec.Raw(json.dumps([MARK]).encode())),
    Word(session_id="s", id="w", at=NOW, saying=Saying.SAY, text=MARK),
)


async def _fill(store: Store) -> None:
    await store.create_session("s", project_key="p", objective=MARK, submission=f'{{"x":"{MARK}"}}')
    await store.write(KEY, RAWS, session_id="s")
    await store.record(*_RECORDS)
    await store.update_session("s", state_reason=MARK, policy=f'{{"name":"{MARK}"}}')
    await store.write_files("s", "snapshot", 0, MARK.encode())
    await store.record_files(_files())


def _files() -> FilesRecord:
    snapshot = msgspec.Raw(json.dumps({"path": MARK}).encode())
    return FilesRecord(
        session_id="s", snapshot_id="snapshot", snapshot=snapshot, at=NOW, seq=1, host="h", chunks=1
    )


_FOLLOWED = FileMark(
    path=f"{MARK}.jsonl",
    offset=1,
    number=1,
    fingerprint="ab",
    fingerprinted=1,
    session_id="s",
    judged=1,
)


async def _check(store: Store) -> None:
    assert [entry.raw async for entry in store.entries("s")] == RAWS
    loaded = await store.load(KEY)
    assert loaded is not None
    assert loaded[0]["message"] == {"content": MARK}  # type: ignore[typeddict-item] # it has one
    row = await store.session("s")
    assert (row.objective, row.state_reason) == (MARK, MARK)
    assert (row.submission, row.policy) == (f'{{"x":"{MARK}"}}', f'{{"name":"{MARK}"}}')
    read: tuple[Callable[[str], Awaitable[object]], ...] = (
        store.verdicts,
        store.intents,
        store.incidents,
        store.prompts,
        store.words,
    )
    assert [await one("s") for one in read] == [[record] for record in _RECORDS]
    assert await store.files("s") == [_files()]
    assert [piece async for piece in store.read_files(_files())] == [MARK.encode()]
    assert await store.list_session_summaries("p")


async def test_how_far_files_were_read_is_known_under_a_key(store: Store, key: str) -> None:
    folder = await store.acquire_folder("host:/p", owner="a", ttl=timedelta(hours=1))
    assert folder.lease is not None
    await store.keep_marks([_FOLLOWED], lease=folder.lease)
    assert await store.marks("host:/p") == [_FOLLOWED]


def _kept(store: Store, backend: Backend) -> bytes:
    """All that the database holds."""
    location = backend.location(store)
    if isinstance(store, SqliteStore):
        beside = (Path(f"{location}{ending}") for ending in ("", "-wal"))
        return b"".join(path.read_bytes() for path in beside if path.exists())
    with psycopg.connect(location) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'lucid'"
        ).fetchall()
        connection.execute("SET bytea_output = 'escape'")
        copies = [
            connection.execute(f"SELECT t::text FROM lucid.{name} AS t").fetchall()
            for (name,) in tables
        ]
    return str(copies).encode()


async def test_nothing_stands_readable_and_all_comes_back(backend: Backend, key: str) -> None:
    store = await backend.fresh()
    await _fill(store)
    await store.record(*_RECORDS)  # again, which doubles nothing
    await _check(store)
    assert MARK.encode() not in _kept(store, backend)
    await _check(await backend.again(store))


async def test_a_store_without_a_key_holds_it_readable(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the test above can find it, if it is there."""
    monkeypatch.delenv(VARIABLE, raising=False)
    store = await backend.fresh()
    await _fill(store)
    assert _kept(store, backend).count(MARK.encode()) >= 8


async def test_what_was_kept_before_there_was_a_key_is_read_beside_it(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    store = await backend.fresh()
    await _fill(store)
    monkeypatch.setenv(VARIABLE, new_key())
    await _check(store)
    sealed = json.dumps({"type": "user", "uuid": "c", "text": "sealed-words"}).encode()
    await store.write(KEY, [sealed])
    assert [entry.raw async for entry in store.entries("s")] == [*RAWS, sealed]
    assert b"sealed-words" not in _kept(store, backend)


async def test_keys_are_changed_while_the_old_one_is_known(
    backend: Backend, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await backend.fresh()
    await _fill(store)
    monkeypatch.setenv(VARIABLE, f"{new_key()},{key}")
    await _check(await backend.again(store))


async def _sealed(store: Store) -> int:
    """Seal all of it; returns how many records were not sealed with the newest key."""
    return sum([part.sealed async for part in sealing.seal(store)])


@pytest.fixture
def _row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are walked through one row at a time."""
    one = tuple(table._replace(at_once=1) for table in sealing.TABLES)
    monkeypatch.setattr(sealing, "TABLES", one)


async def test_what_was_kept_before_there_was_a_key_can_be_sealed(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    store = await backend.fresh()
    await _fill(store)
    folder = await store.acquire_folder("host:/p", owner="a", ttl=timedelta(hours=1))
    assert folder.lease is not None
    mark = msgspec.structs.replace(_FOLLOWED, path="a.jsonl")
    await store.keep_marks([mark], lease=folder.lease)
    monkeypatch.setenv(VARIABLE, new_key())

    assert await _sealed(store) >= len(RAWS) + len(_RECORDS) + 4
    assert MARK.encode() not in _kept(store, backend), "not even where it was let go of"
    await store.record(*_RECORDS)  # again, which doubles nothing
    await _check(store)
    assert await store.marks("host:/p") == [mark]
    assert await _sealed(store) == 0


@pytest.mark.usefixtures("_row_by_row")
async def test_an_old_key_can_go_once_all_is_sealed_with_the_new_one(
    backend: Backend, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await backend.fresh()
    await _fill(store)
    newest = new_key()
    monkeypatch.setenv(VARIABLE, f"{newest},{key}")
    await _sealed(store)
    monkeypatch.setenv(VARIABLE, newest)
    await _check(await backend.again(store))


@pytest.mark.usefixtures("_row_by_row")
async def test_sealing_that_was_broken_off_goes_on(
    backend: Backend, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await backend.fresh()
    await _fill(store)
    newest = new_key()
    monkeypatch.setenv(VARIABLE, f"{newest},{key}")
    done = 0
    async for part in sealing.seal(store):
        done += part.sealed
        if part.table == "entry":
            break
    await _check(await backend.again(store))
    assert await _sealed(store) > 0
    assert await _sealed(store) == 0
    assert done > 0
    monkeypatch.setenv(VARIABLE, newest)
    await _check(await backend.again(store))


async def test_what_was_recorded_again_under_a_new_key_is_there_once(
    backend: Backend, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await backend.fresh()
    await _fill(store)
    monkeypatch.setenv(VARIABLE, f"{new_key()},{key}")
    await store.record(*_RECORDS)
    assert len(await store.verdicts("s")) == 2, "its name is another one under another key"
    await _sealed(store)
    await _check(store)


async def test_what_cannot_be_read_is_not_sealed(
    backend: Backend, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await backend.fresh()
    await _fill(store)
    monkeypatch.setenv(VARIABLE, new_key())
    with pytest.raises(StoreError, match="encrypted with another key"):
        await _sealed(store)
    monkeypatch.setenv(VARIABLE, key)
    await _check(store)


@pytest.mark.usefixtures("key")
def test_every_column_that_is_sealed_is_sealed_again() -> None:
    schema = sqlite3.connect(":memory:")
    schema.executescript((SQL / "sqlite" / "schema.sql").read_text(encoding="utf-8"))
    found = {
        (table, column)
        for (table,) in schema.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        for _, column, kind, *_ in schema.execute(f"PRAGMA table_info({table})").fetchall()
        if kind == "BLOB" or kept(column, "x") != "x"
    }
    schema.close()
    known = {(table.name, column) for table in sealing.TABLES for column in table.sealed}
    assert found == known


def test_what_is_sealed_says_by_which_key() -> None:
    ours, other = bytes(range(32)), bytes(range(1, 33))
    heads = {Keyring([key]).seal(b"x")[: sealing._KEY_BYTES] for key in (ours, ours, other)}
    assert len(heads) == 2


@pytest.mark.parametrize(
    ("other", "said"),
    [("", "is encrypted; put its key into"), (new_key(), "encrypted with another key")],
    ids=["no key", "another key"],
)
async def test_without_its_key_a_store_does_not_open(
    backend: Backend, key: str, monkeypatch: pytest.MonkeyPatch, other: str, said: str
) -> None:
    store = await backend.fresh()
    await _fill(store)
    monkeypatch.setenv(VARIABLE, other)
    with pytest.raises(StoreError, match=said):
        await backend.again(store)


async def test_a_transcript_cannot_pass_itself_off_as_encrypted(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    store = await backend.fresh()
    raws = [b"\0lucid\1" + b"x" * 60, b"\0lucid\0{}", b'{"uuid":"a"}']
    await store.write(KEY, raws)
    await store.update_session("s", objective="lucid-sealed:AAAA")
    assert [entry.raw async for entry in store.entries("s")] == raws
    assert (await store.session("s")).objective == "lucid-sealed:AAAA"


async def test_what_waits_for_a_store_that_is_away_is_not_readable_either(
    tmp_path: Path, key: str
) -> None:
    path = tmp_path / "lucid.db"
    async with SqliteStore(path, busy_timeout=0.01) as inner:
        async with spooled(inner, tmp_path / "spool") as store:
            lease = await held(store)
            with locked(path):
                await store.write(KEY, RAWS, session_id="s", lease=lease)
                (file,) = (tmp_path / "spool").iterdir()
                assert MARK.encode() not in file.read_bytes()
            assert await store.back(5)
        assert [entry.raw async for entry in inner.entries("s")] == RAWS
