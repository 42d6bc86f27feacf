"""A store that is away: what is written waits on local disk, and goes in once and in order."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from claude_agent_sdk import SessionKey
from claude_agent_sdk.testing import run_session_store_conformance

from supervisor.core.intent import Intent
from supervisor.core.lease import Lease
from supervisor.core.sent import SentPrompt
from supervisor.core.session import SessionState
from supervisor.errors import LeaseLost, StoreAway, StoreError, TranscriptError
from supervisor.store.interface import Incident
from supervisor.store.spool import SpooledStore
from supervisor.store.sqlite import SqliteStore
from tests.store.spooling import KEY, LONG, Heard, held, kept, locked, raw, spooled

pytestmark = pytest.mark.anyio

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SURROGATE = msgspec.Raw(b'{"text":"\\ud800"}')
SOON = 30.0
"""Seconds within which whatever is waited for has happened, on any machine."""


def intent(call: str, **changes: object) -> Intent:
    made = Intent(session_id="s", call_id=call, tool="Bash", at=AT)
    return msgspec.structs.replace(made, **changes)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def block(folder: Path) -> None:
    """Let nothing be made in the folder."""
    folder.write_text("in the way")


def unblock(folder: Path) -> None:
    folder.unlink()


@pytest.fixture
async def inner(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "lucid.db", busy_timeout=0) as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def store(inner: SqliteStore, folder: Path, heard: Heard) -> AsyncIterator[SpooledStore]:
    async with spooled(inner, folder, heard) as store:
        yield store


@pytest.fixture
async def lease(store: SpooledStore) -> Lease:
    lease = await held(store)
    await store.write(KEY, [raw("first"), raw(mode="plan")], lease=lease)
    return lease


# There


async def test_a_store_that_is_there_is_written_to_and_nothing_touches_the_disk(
    store: SpooledStore, lease: Lease, folder: Path
) -> None:
    stored = await store.write(KEY, [raw("first"), raw("second")], lease=lease)
    await store.record(intent("c"), lease=lease)

    assert [(entry.seq, entry.uuid) for entry in stored] == [(3, "second")]
    assert await kept(store) == await kept(store.inner)
    assert not store.away
    assert files(folder) == []


def test_it_does_all_that_a_store_does() -> None:
    assert SpooledStore.__abstractmethods__ == frozenset()


async def test_the_agent_sdk_may_use_it(tmp_path: Path) -> None:
    stores: list[SpooledStore] = []

    async def fresh() -> SpooledStore:
        number = len(stores)
        store = SpooledStore(SqliteStore(tmp_path / f"{number}.db"), tmp_path / "spool")
        stores.append(store)
        await store.open()
        return store

    await run_session_store_conformance(fresh)
    for store in stores:
        await store.close()


# Away


async def test_what_is_written_while_it_is_away_goes_in_once_in_order_and_as_numbered(
    store: SpooledStore, inner: SqliteStore, lease: Lease, folder: Path, heard: Heard
) -> None:
    prompt = SentPrompt(session_id="s", uuid="u", at=AT, message=SURROGATE)
    with locked(inner.path):
        one = await store.write(KEY, [raw("second"), raw(mode="plan")], lease=lease)
        assert store.away
        await store.record(intent("c", input=SURROGATE), prompt, lease=lease)
        await store.update_session("s", state=SessionState.REACHED, head="h", lease=lease)
        two = await store.write(KEY, [raw("third"), raw(mode="plan")], lease=lease)
        assert heard.waiting == 4
        assert [entry.seq for entry in await kept(inner)] == [1, 2], "readers see what was there"
    assert await store.back(SOON)

    assert [entry.seq for entry in one + two] == [3, 4, 5, 6]
    assert (await kept(inner))[2:] == one + two
    (found,) = await inner.prompts("s")
    assert found == prompt
    assert (await inner.session("s")).state is SessionState.REACHED
    assert (heard.waiting, heard.back, len(heard.away)) == (0, [4], 1)
    assert await store.write(KEY, [raw("fourth")], lease=lease)
    assert files(folder) == []


async def test_an_entry_that_comes_again_meanwhile_is_known_again(
    store: SpooledStore, inner: SqliteStore, lease: Lease, heard: Heard
) -> None:
    with locked(inner.path):
        again = await store.write(KEY, [raw("first"), raw("a"), raw("a")], lease=lease)
        assert [entry.uuid for entry in again] == ["a"]
        assert await store.write(KEY, [raw("a")], lease=lease) == []
        elsewhere = SessionKey(project_key="p", session_id="s", subpath="subagents/agent-1")
        (other,) = await store.write(elsewhere, [raw("a")], lease=lease)
        assert other.agent_id == "1"
    assert await store.back(SOON)

    assert [entry.uuid for entry in await kept(inner)] == ["first", None, "a", "a"]
    assert heard.refusals == []


async def test_what_the_store_knows_again_alone_is_told_loudly(
    store: SpooledStore, inner: SqliteStore, lease: Lease, heard: Heard
) -> None:
    await inner.write(KEY, [raw("behind its back")])
    with locked(inner.path):
        await store.write(KEY, [raw("behind its back"), raw("a")], lease=lease)
        await store.write(KEY, [raw("b")], lease=lease)
    assert await store.back(SOON)

    assert [entry.uuid for entry in await kept(inner)][2:] == ["behind its back", "a", "b"]
    assert heard.refusals == []


async def test_wrong_numbers_are_told_loudly(
    store: SpooledStore, inner: SqliteStore, lease: Lease, heard: Heard
) -> None:
    await inner.write(KEY, [raw("behind its back")])
    with locked(inner.path):
        await store.write(KEY, [raw("a")], lease=lease)
    assert await store.back(SOON)

    assert [entry.uuid for entry in await kept(inner)][2:] == ["behind its back", "a"]
    assert "numbered up to 3 and are kept up to 4" in heard.refusals[0]


async def test_the_file_is_its_owners_alone(
    store: SpooledStore, inner: SqliteStore, lease: Lease, folder: Path
) -> None:
    with locked(inner.path):
        await store.write(KEY, [raw("a")], lease=lease)
        (file,) = files(folder)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert await store.back(SOON)


async def test_whoever_looks_waits_for_a_stated_time_and_sees_no_half_of_it(
    store: SpooledStore, inner: SqliteStore, lease: Lease
) -> None:
    with locked(inner.path):
        await store.record(intent("c"), lease=lease)
        with pytest.raises(StoreAway, match=r"still so after 0\.05 s"):
            await store.intents("s")
        with pytest.raises(StoreAway):
            await kept(store)
        assert not await store.back(0.0)
    assert await store.back(SOON)
    assert [found.call_id for found in await store.intents("s")] == ["c"]


async def test_what_comes_without_a_lease_of_its_own_does_not_wait(
    store: SpooledStore, inner: SqliteStore, lease: Lease
) -> None:
    other = msgspec.structs.replace(lease, owner="another")
    with locked(inner.path):
        for not_ours in (None, other):
            with pytest.raises(StoreAway, match="locked"):
                await store.write(KEY, [raw("a")], lease=not_ours)
        assert not store.away


async def test_a_wrong_argument_is_raised_and_not_kept_for_later(
    store: SpooledStore, lease: Lease, folder: Path
) -> None:
    stranger = Incident(session_id="t", at=AT, source="store", message="m")
    with pytest.raises((StoreError, TranscriptError)):
        await store.record(stranger, lease=lease)
    assert not store.away
    assert files(folder) == []


async def test_what_the_store_refuses_for_good_is_set_aside_and_the_rest_goes_in(
    store: SpooledStore, inner: SqliteStore, lease: Lease, folder: Path, heard: Heard
) -> None:
    stranger = Incident(session_id="t", at=AT, source="store", message="m")
    with locked(inner.path):
        await store.record(intent("one"), lease=lease)
        await store.record(stranger, lease=lease)
        await store.record(intent("two"), lease=lease)
    assert await store.back(SOON)

    assert [found.call_id for found in await inner.intents("s")] == ["one", "two"]
    (aside,) = files(folder)
    assert str(aside) in heard.refusals[0]
    assert b'"message":"m"' in aside.read_bytes()


async def test_several_sessions_wait_side_by_side(
    store: SpooledStore, inner: SqliteStore, lease: Lease
) -> None:
    other = await held(store, "t")
    key = SessionKey(project_key="p", session_id="t")
    with locked(inner.path):
        for number in range(3):
            await store.write(KEY, [raw(f"s{number}")], lease=lease)
            await store.write(key, [raw(f"t{number}")], lease=other)
    assert await store.back(SOON)

    assert [entry.uuid for entry in await kept(inner)][2:] == ["s0", "s1", "s2"]
    assert [entry.uuid for entry in await kept(inner, "t")] == ["t0", "t1", "t2"]


async def test_writers_at_once_lose_and_double_nothing_while_it_comes_and_goes(
    store: SpooledStore, inner: SqliteStore, lease: Lease
) -> None:
    told: dict[int, str | None] = {}

    async def writer(name: str) -> None:
        for number in range(20):
            for entry in await store.write(KEY, [raw(f"{name}-{number}")], lease=lease):
                told[entry.seq] = entry.uuid
            await store.record(intent(f"{name}-{number}"), lease=lease)
            await asyncio.sleep(0)

    async def comes_and_goes() -> None:
        for _ in range(4):
            with locked(inner.path):
                await asyncio.sleep(0.05)
            await store.back(SOON)

    await asyncio.gather(*(writer(f"w{number}") for number in range(3)), comes_and_goes())
    assert await store.back(SOON)
    entries = (await kept(inner))[2:]
    assert {entry.seq: entry.uuid for entry in entries} == told
    assert len(entries) == len(await inner.intents("s")) == 60
    for name in ("w0", "w1", "w2"):
        mine = [entry.uuid for entry in entries if (entry.uuid or "").startswith(name)]
        assert mine == [f"{name}-{number}" for number in range(20)]


# The lease


async def test_a_lease_is_renewed_as_soon_as_that_is_possible(
    store: SpooledStore, inner: SqliteStore, lease: Lease
) -> None:
    with locked(inner.path):
        await store.write(KEY, [raw("a")], lease=lease)
        with pytest.raises(StoreAway):
            await store.renew_lease(lease, ttl=LONG)
    assert (await store.renew_lease(lease, ttl=LONG)).epoch == lease.epoch
    assert await store.back(SOON)


async def test_a_session_that_was_taken_over_meanwhile_keeps_what_waited_aside(
    store: SpooledStore, inner: SqliteStore, lease: Lease, folder: Path, heard: Heard
) -> None:
    await inner.release_lease(lease)
    await inner.acquire_lease("s", owner="another", ttl=LONG)
    with locked(inner.path):
        await store.write(KEY, [raw("a")], lease=lease)
        await store.record(intent("c"), lease=lease)
    assert await store.back(SOON)

    ((error, where),) = heard.losses
    assert "another took the session over" in str(error)
    assert [where] == files(folder)
    assert heard.waiting == 0
    assert len(await kept(inner)) == 2
    for _ in range(2):
        with pytest.raises(LeaseLost):
            await store.record(intent("d"), lease=lease)


async def test_a_lease_is_not_let_go_while_something_waits_under_it(
    inner: SqliteStore, folder: Path, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    async with spooled(inner, folder, heard) as store:
        lease = await held(store)
        with locked(inner.path):
            await store.write(KEY, [raw("a")], lease=lease)
            with pytest.raises(StoreAway, match="will expire by itself"):
                await store.release_lease(lease)
            await store.close()
    (file,) = files(folder)
    assert heard.was_left
    assert f"1 operations wait for it in {file}" in caplog.text

    async with spooled(inner, folder) as store:
        assert [entry.uuid for entry in await kept(store)] == ["a"]
        await store.release_lease(lease)
    assert files(folder) == []


# A process that is gone

KILLED = """
import asyncio, sys
from pathlib import Path
from supervisor.store.sqlite import SqliteStore
from tests.store.spooling import KEY, held, raw, spooled

async def main(path, folder):
    async with SqliteStore(path, busy_timeout=0) as inner, spooled(inner, folder) as store:
        lease = await held(store)
        await store.write(KEY, [raw("first")], lease=lease)
        print("open", flush=True)
        sys.stdin.readline()
        for number in range(50):
            await store.write(KEY, [raw(f"a{number}"), raw(number=number)], lease=lease)
        print("waits", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*map(Path, sys.argv[1:])))
"""


def kill_one_with_a_backlog(path: Path, folder: Path) -> None:
    """Have a process write to the store while it is away, and kill it."""
    command = [sys.executable, "-c", KILLED, str(path), str(folder)]
    root = Path(__file__).parents[2]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=root, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with locked(path):
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "waits\n"
            process.send_signal(signal.SIGKILL)
            process.wait()


async def test_what_a_killed_process_left_goes_in_before_the_session_changes_hands(
    inner: SqliteStore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert inner.path is not None
    await asyncio.to_thread(kill_one_with_a_backlog, inner.path, folder)
    assert len(await kept(inner)) == 1
    (left,) = files(folder)

    async with spooled(inner, folder) as store:
        entries = await kept(inner)
        lease = await store.inner.lease("s")
        assert lease is not None
        await inner.release_lease(lease)
        taken = await held(store, owner="two")
        assert taken.epoch == 2
        (next_one,) = await store.write(KEY, [raw("next")], lease=taken)

    expected = ["first"] + [uuid for number in range(50) for uuid in (f"a{number}", None)]
    assert [entry.uuid for entry in entries] == expected
    assert next_one.seq == 102
    assert files(folder) == []
    assert f"took in 50 operations that a process which is gone had left waiting in {left}" in (
        caplog.text
    )


async def test_it_goes_in_again_without_harm_if_that_was_interrupted(
    inner: SqliteStore, folder: Path, heard: Heard
) -> None:
    assert inner.path is not None
    await asyncio.to_thread(kill_one_with_a_backlog, inner.path, folder)
    (left,) = files(folder)
    copy = left.read_bytes()
    async with spooled(inner, folder):
        pass
    left.write_bytes(copy)
    async with spooled(inner, folder, heard):
        pass

    assert len(await kept(inner)) == 101
    assert heard.refusals == []


@pytest.mark.parametrize("lost", [1, 30])
async def test_what_was_being_written_when_it_was_killed_is_recognised(
    inner: SqliteStore, folder: Path, caplog: pytest.LogCaptureFixture, lost: int
) -> None:
    assert inner.path is not None
    await asyncio.to_thread(kill_one_with_a_backlog, inner.path, folder)
    (left,) = files(folder)
    os.truncate(left, left.stat().st_size - 1 - lost)
    async with spooled(inner, folder):
        assert len(await kept(inner)) == 99

    assert "took in 49 operations" in caplog.text
    assert "which it was writing when it ended, are left out" in caplog.text


async def test_what_is_left_of_a_session_that_another_took_over_stays_aside(
    inner: SqliteStore, folder: Path, heard: Heard
) -> None:
    assert inner.path is not None
    await asyncio.to_thread(kill_one_with_a_backlog, inner.path, folder)
    lease = await inner.lease("s")
    assert lease is not None
    await inner.release_lease(lease)
    await inner.acquire_lease("s", owner="another", ttl=LONG)
    async with spooled(inner, folder, heard) as store:
        assert not store.away

    (aside,) = files(folder)
    assert aside.suffix == ".refused"
    assert "another took the session over" in heard.refusals[0]
    assert str(aside) in heard.refusals[0]
    assert len(await kept(inner)) == 1


async def test_the_files_of_a_process_that_lives_and_of_other_stores_are_left_alone(
    store: SpooledStore, inner: SqliteStore, lease: Lease, folder: Path, tmp_path: Path
) -> None:
    with locked(inner.path):
        await store.write(KEY, [raw("a")], lease=lease)
        async with spooled(inner, folder):
            pass
        async with SqliteStore(tmp_path / "other.db") as other, spooled(other, folder):
            pass
        assert len(files(folder)) == 1
    assert await store.back(SOON)
    assert (await kept(inner))[-1].uuid == "a"


async def test_a_file_that_nobody_can_read_stays_where_it_is(
    inner: SqliteStore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert inner.path is not None
    await asyncio.to_thread(kill_one_with_a_backlog, inner.path, folder)
    (left,) = files(folder)
    left.write_bytes(b"something else")
    async with spooled(inner, folder):
        pass
    assert left.read_bytes() == b"something else"
    assert f"{left} is no spool file that this Lucid can read" in caplog.text


# The local disk


async def test_without_a_folder_it_waits_in_memory_and_says_so_once(
    inner: SqliteStore, folder: Path, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    block(folder)
    async with spooled(inner, folder, heard) as store:
        lease = await held(store)
        with locked(inner.path):
            for number in range(3):
                await store.write(KEY, [raw(f"a{number}")], lease=lease)
        assert await store.back(SOON)
    assert [entry.uuid for entry in await kept(inner)] == ["a0", "a1", "a2"]
    assert caplog.text.count("it waits in memory") == 1


async def test_it_goes_to_disk_when_there_is_room_again(inner: SqliteStore, folder: Path) -> None:
    block(folder)
    async with spooled(inner, folder) as store:
        lease = await held(store)
        with locked(inner.path):
            await store.write(KEY, [raw("a")], lease=lease)
            unblock(folder)
            await store.write(KEY, [raw("b")], lease=lease)
            await store.close()
    async with spooled(inner, folder) as store:
        assert [entry.uuid for entry in await kept(store)] == ["a", "b"]


async def test_what_is_lost_with_the_process_is_told(
    inner: SqliteStore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    block(folder)
    async with spooled(inner, folder) as store:
        lease = await held(store)
        with locked(inner.path):
            await store.write(KEY, [raw("a")], lease=lease)
            await store.close()
    assert "1 operations that waited in memory are lost" in caplog.text


async def test_memory_has_an_end(
    inner: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.store.spool_backlog.MOST_IN_MEMORY", 2000)
    block(folder)
    async with spooled(inner, folder) as store:
        lease = await held(store)
        with locked(inner.path):
            await store.write(KEY, [raw("a")], lease=lease)
            with pytest.raises(StoreAway, match="memory holds"):
                await store.write(KEY, [b" " * 3000], lease=lease)
            (entry,) = await store.write(KEY, [raw("b")], lease=lease)
        assert await store.back(SOON)
    assert [entry.uuid for entry in await kept(inner)] == ["a", "b"]
    assert entry.seq == 2
