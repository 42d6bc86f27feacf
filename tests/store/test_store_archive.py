"""A session goes to a file and into any store, byte for byte, or not at all."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from claude_agent_sdk import SessionKey

from supervisor.core.decision import Choice, Decision
from supervisor.core.intent import Intent
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.sent import SentPrompt
from supervisor.core.session import SessionState
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.errors import LeaseHeld, StoreError, TranscriptError
from supervisor.privacy.redaction import Redactor
from supervisor.store import archive, archive_format
from supervisor.store.archive import export_session, import_session
from supervisor.store.interface import Incident, Store
from supervisor.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from tests.store.conftest import Backend

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 10, 30, 0, 123_456, tzinfo=UTC)
MAIN = SessionKey(project_key="-work", session_id="11111111-1111-4111-8111-111111111111")
NESTED = SessionKey(**MAIN, subpath="subagents/agent-a1")
FORK = SessionKey(project_key="-elsewhere", session_id="22222222-2222-4222-8222-222222222222")
RAWS = [
    b'{"uuid":"a","type":"user"}',
    b'{"type":"mode"}',
    b'{"uuid": "b",  "text": "line\\nbreak \\ud83d \xf0\x9f\x98\x80"}',
    b'{"uuid":"c","n":NaN}',
    b"\xff\xfe no text at all",
    b'\xef\xbb\xbf{"uuid":"d"}',
    b'{"uuid":"long","text":"' + b"x" * 10_000 + b'"}',
    b"",
]


def _verdict(seq: int) -> Verdict:
    return Verdict(
        session_id="s",
        transcript=MAIN["session_id"],
        seq=seq,
        onset_seq=1,
        detector="loop",
        failure_mode=FailureMode.LOOP,
        severity=Severity.WARNING,
        confidence=0.95,
        summary="the same call, 3 times",
        evidence=Evidence(entries=(1, seq), facts={"tool": "Read", "names": ("a",)}),
        key="k",
    )


async def _fill(store: Store, name: str = "s") -> None:
    """A session with something of every kind, whose numbers have a gap."""
    await store.create_session(
        name, project_key="-work", objective="do it", cwd="/w", policy="p: 1", submission="{}"
    )
    await store.write(MAIN, RAWS, session_id=name)
    await store.write(FORK, [b'{"uuid":"gone"}'], session_id=name)
    await store.delete(FORK)
    await store.write(NESTED, RAWS[:3])
    await store.write(FORK, RAWS, session_id=name, inherited=True)
    decision = Decision(
        id="d",
        session_id=name,
        seq=9,
        at=NOW,
        verdict=_verdict(9),
        choice=Choice.ACT,
        reason="first rung",
        params={"to": "onset"},
    )
    outcome = Outcome(
        session_id=name,
        decision_id="d",
        action="nudge",
        failure_mode=FailureMode.LOOP,
        status=OutcomeStatus.CLEARED,
        seq=10,
        at=NOW,
        reason="r",
    )
    laid_out = msgspec.Raw(b'{\n  "command": "ls"\n}')
    await store.record(
        _verdict(9),
        decision,
        outcome,
        Intent(session_id=name, call_id="c1", tool="Bash", input=laid_out, at=NOW),
        Incident(session_id=name, seq=3, at=NOW, source="ingest", place="l 7", message="m"),
        SentPrompt(session_id=name, uuid="p1", at=NOW, message=msgspec.Raw(b'{ "a":\n1.0}')),
        SentPrompt(session_id=name, uuid="p2", at=NOW, message=msgspec.Raw(b'"\xff"')),
    )
    await store.update_session(
        name, state=SessionState.REACHED, state_reason="done", head=FORK["session_id"]
    )


async def _content(store: Store) -> dict[str, Any]:
    """All that a store has of session `s`."""
    intents = [
        msgspec.structs.replace(i, input=msgspec.Raw(bytes(i.input).replace(b"\n", b" ")))
        for i in await store.intents("s")
    ]
    return {
        "row": msgspec.structs.replace(await store.session("s"), lease=None),
        "entries": [entry async for entry in store.entries("s")],
        "intents": intents,
        "transcripts": await store.transcripts("s"),
        "loaded": [repr(await store.load(key)) for key in (MAIN, NESTED, FORK)],
        "listed": [
            summary["data"]
            for project in ("-work", "-elsewhere")
            for summary in await store.list_session_summaries(project)
        ],
        "records": [
            await read("s")
            for read in (
                store.prompts,
                store.verdicts,
                store.decisions,
                store.outcomes,
                store.incidents,
            )
        ],
    }


async def _exported(store: Store, path: Path) -> Path:
    with path.open("wb") as file:
        await export_session(store, "s", file)
    return path


@pytest.fixture
async def full(store: Store) -> Store:
    await _fill(store)
    return store


@pytest.fixture
async def archive_file(tmp_path: Path) -> Path:
    async with SqliteStore() as store:
        await _fill(store)
        return await _exported(store, tmp_path / "s.jsonl.gz")


@pytest.fixture(params=["sqlite", "postgres"])
async def other(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A second store, of either kind."""
    from tests.store.conftest import PostgresBackend, SqliteBackend

    folder = tmp_path / "other"
    folder.mkdir()
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            yield await SqliteBackend(stack, folder).fresh()
        else:
            server = request.getfixturevalue("postgres_server")
            yield await PostgresBackend(stack, server).fresh()


async def test_a_session_comes_back_as_it_was(full: Store, other: Store, tmp_path: Path) -> None:
    file = await _exported(full, tmp_path / "s.jsonl.gz")
    moved = await import_session(other, file)
    assert (moved.session_id, moved.entries, moved.new) == ("s", 19, True)
    assert await _content(other) == await _content(full)
    row = await other.session("s")
    assert row.lease is None
    assert row.entries == 20, "the number of the deleted entry is not given again"
    (new,) = await other.write(FORK, [b'{"uuid":"a"}', b'{"uuid":"new"}'])
    assert new.seq == 21


async def test_equal_sessions_make_equal_files(full: Store, other: Store, tmp_path: Path) -> None:
    file = await _exported(full, tmp_path / "one")
    await import_session(other, file)
    assert (await _exported(other, tmp_path / "two")).read_bytes() == file.read_bytes()


async def test_many_small_batches_make_the_same(
    full: Store, other: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await _exported(full, tmp_path / "one")
    monkeypatch.setattr(archive, "_BATCH_ITEMS", 2)
    again = await _exported(full, tmp_path / "two")
    assert again.read_bytes() == file.read_bytes()
    await import_session(other, again)
    assert await _content(other) == await _content(full)


async def test_what_is_written_meanwhile_is_left_out(full: Store, tmp_path: Path) -> None:
    row = await full.session("s")
    header = archive_format.header_of(row, await full.transcripts("s"))
    await full.write(MAIN, [b'{"uuid":"later"}'])
    seqs = [
        item.seq
        async for batch in archive._batches(full, header.row)
        for item in batch
        if hasattr(item, "raw")
    ]
    assert max(seqs) == row.entries


async def test_what_was_not_at_rest_comes_back_closed(store: Store, tmp_path: Path) -> None:
    async with SqliteStore() as first:
        await _fill(first)
        await first.update_session("s", state=SessionState.RUNNING, state_reason="")
        lease = await first.acquire_lease("s", owner="one", ttl=timedelta(hours=1))
        file = await _exported(first, tmp_path / "s")
        await first.release_lease(lease)
        assert [row.session_id for row in await first.runnable(1)] == ["s"]
    await import_session(store, file)
    row = await store.session("s")
    assert (row.state, row.submission) == (SessionState.CLOSED, "{}")
    assert "it was running in the store" in row.state_reason
    assert await store.runnable(1) == []


# What is there already


async def test_importing_again_is_harmless(full: Store, tmp_path: Path) -> None:
    file = await _exported(full, tmp_path / "s")
    before = await _content(full)
    moved = await import_session(full, file)
    assert (moved.entries, moved.new) == (19, False)
    assert await _content(full) == before


@pytest.mark.parametrize(
    ("more", "said"),
    [(b'{"uuid":"more"}', "it has more than 19 entries"), (None, "entry 10 is another or missing")],
)
async def test_a_session_that_is_another_stays_as_it_is(
    store: Store, archive_file: Path, more: bytes | None, said: str
) -> None:
    await _fill(store)
    if more is None:
        await store.delete(NESTED)
    else:
        await store.write(MAIN, [more])
    row = await store.session("s")
    with pytest.raises(TranscriptError, match=f"'s' is in the store already .* {said}; nothing"):
        await import_session(store, archive_file)
    assert await store.session("s") == row


async def test_a_transcript_that_is_another_sessions_is_not_taken(
    store: Store, archive_file: Path
) -> None:
    await store.write(FORK, [b"{}"], session_id="scanned")
    with pytest.raises(TranscriptError, match=r"2222' of session 's' is here .* of session 'scann"):
        await import_session(store, archive_file)
    assert [row.session_id for row in await store.sessions()] == ["scanned"]
    assert await store.load(MAIN) is None


async def test_a_session_whose_id_only_begins_so_is_no_hindrance(
    store: Store, archive_file: Path
) -> None:
    await store.create_session("sister", project_key="p")
    assert (await import_session(store, archive_file)).new


async def test_an_import_that_fails_leaves_nothing(
    store: Store, archive_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*items: object, lease: object = None) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "record", fail)
    with pytest.raises(StoreError, match="the disk is full"):
        await import_session(store, archive_file)
    assert await store.sessions() == []
    monkeypatch.undo()
    assert (await import_session(store, archive_file)).new


async def test_an_import_that_was_killed_is_replaced(
    store: Store, archive_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise StoreError("away")

    monkeypatch.setattr(store, "record", fail)
    monkeypatch.setattr(store, "delete_session", fail)
    with pytest.raises(StoreError, match="away"):
        await import_session(store, archive_file)
    monkeypatch.undo()
    row = await store.session("s")
    assert (row.state, row.entries) == (SessionState.CLOSED, 20)
    assert "import its file again" in row.state_reason
    with pytest.raises(LeaseHeld, match=r"\(import "):
        await import_session(store, archive_file)
    held = await store.lease("s")
    assert held is not None
    await store.release_lease(held)
    assert (await import_session(store, archive_file)).new
    assert (await store.session("s")).state_reason == "done"


# Files that are not sound


def _lines(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def _spoil(path: Path, how: Callable[[bytes], bytes]) -> None:
    path.write_bytes(how(path.read_bytes()))


def _flipped_at(share: float) -> Callable[[bytes], bytes]:
    """Turns some bits of one byte behind the head of a gzip file, or back again."""

    def flip(content: bytes) -> bytes:
        place = 10 + int(share * (len(content) - 10))
        return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]

    return flip


def _rewritten(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(gzip.compress(b"".join(lines)))


async def _refused(file: Path, said: str) -> None:
    async with SqliteStore() as store:
        with pytest.raises(TranscriptError, match=said) as refusal:
            await import_session(store, file)
        assert await store.sessions() == []
        assert str(file) in str(refusal.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
async def test_a_file_that_is_cut_off_is_refused(archive_file: Path, share: float) -> None:
    _spoil(archive_file, lambda whole: whole[: int(len(whole) * share)])
    said = "the file ends before" if not share else "the file is cut off"
    await _refused(archive_file, rf"line \d+: {said}.*nothing was imported: export")


async def test_a_damaged_file_is_refused_wherever_it_is_damaged(archive_file: Path) -> None:
    draw = random.Random(5)
    async with SqliteStore() as store:
        for _ in range(60):
            flip = _flipped_at(draw.random())
            _spoil(archive_file, flip)
            with pytest.raises(TranscriptError, match=r"line \d+: "):
                await import_session(store, archive_file)
            _spoil(archive_file, flip)
        assert await store.sessions() == []


async def test_a_file_without_its_last_lines_is_refused(archive_file: Path) -> None:
    lines = _lines(archive_file)
    _rewritten(archive_file, lines[:-1])
    await _refused(archive_file, rf"line {len(lines)}: the file ends before its last line")
    _rewritten(archive_file, [*lines[:5], *lines[6:]])
    await _refused(archive_file, rf"line {len(lines) - 1}: {len(lines) - 2} lines before it")


def _changed(number: int, **fields: object) -> Callable[[list[bytes]], list[bytes]]:
    def change(lines: list[bytes]) -> list[bytes]:
        line = json.loads(lines[number]) | fields
        kept = {name: value for name, value in line.items() if value is not ...}
        return [*lines[:number], json.dumps(kept).encode() + b"\n", *lines[number + 1 :]]

    return change


def _of(**fields: object) -> Callable[[list[bytes]], list[bytes]]:
    def change(lines: list[bytes]) -> list[bytes]:
        numbers = range(len(lines))
        number = next(n for n in numbers if json.loads(lines[n])["type"] == fields["type"])
        record = json.loads(lines[number])["record"] | {
            name: value for name, value in fields.items() if name != "type"
        }
        return _changed(number, record=record)(lines)

    return change


def _transcript(**fields: str) -> Callable[[list[bytes]], list[bytes]]:
    named = {"project_key": "p", "session_id": "x", **fields}
    return _changed(0, transcripts=[named])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [b"dear diary\n"], "line 1: "),
        (lambda lines: [b"{}\n"], "line 1: no file of 'lucid export'"),
        (lambda lines: [lines[0][:-1] + b"x\n"], "line 1: "),
        (_changed(0, version=3, new=1), r"line 1: .* version 3 .* up to 2: upgrade lucid-superv"),
        (_changed(0, session_id="a\nb"), r"line 1: .*session_id"),
        (_changed(0, session_id=...), r"line 1: .*missing required field `session_id`"),
        (_changed(0, created_at="2026-01-01T00:00:00"), r"line 1: .*created_at"),
        (_changed(0, surprise=1), r"line 1: .*unknown field `surprise`"),
        (_changed(0, state="dreaming"), r"line 1: .*state"),
        (_transcript(subpath="../../etc/passwd"), r"line 1: a transcript cannot stand at"),
        (_transcript(subpath="/etc/passwd"), r"line 1: a transcript cannot stand at"),
        (_transcript(session_id="../x"), r"line 1: .*session_id"),
        (_transcript(project_key=".."), r"line 1: .*project_key"),
        (_changed(2, seq=1), "line 3: entry 1 stands behind 1 of 20"),
        (_changed(2, seq=21), "line 3: entry 21 stands behind 1 of 20"),
        (_changed(2, seq=2**70), "line 3: "),
        (_changed(2, transcript=7), "line 3: there is no transcript 7"),
        (_changed(2, text=...), "line 3: it has either text or base64"),
        (_changed(2, base64="AA=="), "line 3: it has either text or base64"),
        (_changed(2, text=..., base64="***"), "line 3: "),
        (_changed(2, type="oracle"), r"line 3: .*oracle"),
        (_of(type="intent", session_id="other"), r"line \d+: it is about another session"),
        (_of(type="verdict", session_id="other"), r"line \d+: it is about another session"),
        (_of(type="incident", at="2026-01-01T00:00:00"), r"line \d+: its time has no zone"),
        (lambda lines: [lines[0], *lines], "line 2: a second session begins"),
        (lambda lines: [*lines, lines[1]], r"line \d+: there is something behind the last line"),
        (lambda lines: [lines[0], b"[" * 100_000 + b"\n"], "line 2: "),
        (lambda lines: [lines[0], b"\n", *lines[1:]], "line 2: "),
    ],
)
async def test_a_file_that_lucid_did_not_write_is_refused(
    archive_file: Path, change: Callable[[list[bytes]], list[bytes]], said: str
) -> None:
    _rewritten(archive_file, change(_lines(archive_file)))
    await _refused(archive_file, said)


async def test_two_entries_of_one_uuid_are_refused(archive_file: Path) -> None:
    lines = _lines(archive_file)
    second = json.loads(lines[2]) | {"text": json.loads(lines[1])["text"]}
    _rewritten(archive_file, [*lines[:2], json.dumps(second).encode() + b"\n", *lines[3:]])
    async with SqliteStore() as store:
        with pytest.raises(TranscriptError, match="has the number or the uuid of another"):
            await import_session(store, archive_file)
        assert await store.sessions() == []


async def test_a_line_that_never_ends_is_not_held(
    archive_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_format, "MAX_LINE", 20_000)
    _rewritten(archive_file, [_lines(archive_file)[0], b'{"type":"entry' + b" " * 1_000_000])
    await _refused(archive_file, "line 2: it is longer than 20,000 bytes")


async def test_an_entry_too_long_for_an_archive_is_refused_at_the_export(
    full: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_format, "MAX_LINE", 8_000)
    with pytest.raises(TranscriptError, match=r"entry 7 takes 10,.* cannot be exported"):
        await export_session(full, "s", io.BytesIO())


async def test_a_session_that_could_not_be_imported_is_refused_at_the_export(
    store: Store,
) -> None:
    astray = SessionKey(project_key="p", session_id="x", subpath="../../x")
    await store.write(astray, [b"{}"], session_id="s")
    with pytest.raises(TranscriptError, match=r"'s' cannot be exported: a transcript cannot stand"):
        await export_session(store, "s", io.BytesIO())


async def test_what_is_no_archive_says_so(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("dear diary")
    await _refused(text, r"line 1: no file of 'lucid export' \(Not a gzipped file")
    await _refused(tmp_path, r"cannot be read: Is a directory; check the path")
    await _refused(tmp_path / "none", r"cannot be read: No such file")


async def test_an_unknown_session_cannot_be_exported(store: Store) -> None:
    with pytest.raises(TranscriptError, match="no session 'nope'"):
        await export_session(store, "nope", io.BytesIO())


async def test_a_backend_can_import_what_it_exported(backend: Backend, tmp_path: Path) -> None:
    one = await backend.fresh()
    await _fill(one)
    await import_session(await backend.fresh(), await _exported(one, tmp_path / "s"))


# Without secrets

PASSWORD = "tr0ub4dor-and-3"
SECRETIVE = [
    b'{"uuid":"a","type":"user","text":"DB_PASSWORD=' + PASSWORD.encode() + b'\\n","x":1.0}',
    b'{"uuid":"b","type":"user","text":"nothing"}',
    b'\xff\xfe password="' + PASSWORD.encode() + b'"',
]


async def _secretive(store: Store) -> None:
    said = f"use --password {PASSWORD}"
    await store.create_session("s", project_key="-work", objective=said, submission=said)
    await store.write(MAIN, SECRETIVE, session_id="s")
    message = msgspec.Raw(json.dumps({"content": f"password: {PASSWORD}"}).encode())
    await store.record(
        SentPrompt(session_id="s", uuid="u", at=NOW, message=message),
        Incident(session_id="s", at=NOW, source="x", message=f"https://me:{PASSWORD}@host"),
    )


async def test_a_redacted_file_holds_no_secret_and_is_imported(
    store: Store, tmp_path: Path
) -> None:
    await _secretive(store)
    path = tmp_path / "s.jsonl.gz"
    with path.open("wb") as file:
        moved = await export_session(store, "s", file, redactor=Redactor())

    assert (moved.entries, moved.redacted) == (3, 5)
    assert PASSWORD.encode() not in gzip.decompress(path.read_bytes())
    assert json.loads(_lines(path)[0])["redacted"] is True
    async with SqliteStore() as other:
        assert (await import_session(other, path)).entries == 3
        raws = [entry.raw async for entry in other.entries("s")]
        assert (await other.session("s")).objective == "use --password [redacted:secret]"
    assert raws[0] == SECRETIVE[0].replace(PASSWORD.encode(), b"[redacted:secret]")
    assert raws[1] == SECRETIVE[1]
    assert PASSWORD.encode() not in raws[2]
    with pytest.raises(TranscriptError, match="secrets were left out of the file"):
        await import_session(store, path)
