"""Checkpoints of files are kept with their session, in pieces, and go with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from claude_agent_sdk import SessionKey

from supervisor.errors import LeaseLost, StoreError, TranscriptError
from supervisor.store.files import FilesRecord
from supervisor.store.interface import Store

pytestmark = pytest.mark.anyio

KEY = SessionKey(project_key="p", session_id="s")
NOW = datetime(2026, 3, 1, 10, 30, 0, 123_456, tzinfo=UTC)


def _record(snapshot_id: str = "a1", at: datetime = NOW, chunks: int = 0) -> FilesRecord:
    return FilesRecord(
        session_id="s",
        snapshot_id=snapshot_id,
        snapshot=msgspec.Raw(b'{"id":"a1","cwd":"/work"}'),
        at=at,
        seq=7,
        after_call="toolu_1",
        host="here",
        chunks=chunks,
        bytes=6,
        since="a0",
    )


async def _content(store: Store, kept: FilesRecord) -> list[bytes]:
    return [data async for data in store.read_files(kept)]


async def test_checkpoints_come_back_in_the_order_of_recording(store: Store) -> None:
    await store.write(KEY, [b"{}"])
    kept = [_record("b2"), _record("a1"), _record("b2", NOW + timedelta(seconds=1))]
    for one in [*kept, kept[0]]:
        await store.record_files(one)

    assert await store.files("s") == kept


async def test_content_comes_back_piece_by_piece_and_the_last_write_counts(store: Store) -> None:
    await store.write(KEY, [b"{}"])
    for number, data in enumerate([b"abc", b"\0\xff"]):
        await store.write_files("s", "a1", number, b"half of an earlier attempt")
        await store.write_files("s", "a1", number, data)

    assert await _content(store, _record(chunks=2)) == [b"abc", b"\0\xff"]


async def test_a_missing_piece_is_told(store: Store) -> None:
    await store.write(KEY, [b"{}"])
    await store.write_files("s", "a1", 0, b"abc")

    with pytest.raises(StoreError, match="piece 1 of 2 of the checkpoint of files a1"):
        await _content(store, _record(chunks=2))


async def test_nothing_is_kept_for_a_session_that_is_not_there(store: Store) -> None:
    with pytest.raises(TranscriptError):
        await store.write_files("s", "a1", 0, b"abc")
    with pytest.raises(TranscriptError):
        await store.record_files(_record())
    with pytest.raises(TranscriptError):
        await store.files("s")


async def test_a_former_owner_can_keep_nothing(store: Store) -> None:
    await store.create_session("s", project_key="p")
    ttl = timedelta(minutes=1)
    former = await store.acquire_lease("s", owner="one", ttl=ttl)
    await store.release_lease(former)
    owner = await store.acquire_lease("s", owner="two", ttl=ttl)

    with pytest.raises(LeaseLost):
        await store.write_files("s", "a1", 0, b"abc", lease=former)
    with pytest.raises(LeaseLost):
        await store.record_files(_record(), lease=former)
    await store.write_files("s", "a1", 0, b"abc", lease=owner)
    await store.record_files(_record(), lease=owner)
    assert await store.files("s") == [_record()]


async def test_checkpoints_go_with_their_session(store: Store) -> None:
    await store.write(KEY, [b"{}"])
    await store.write_files("s", "a1", 0, b"abc")
    await store.record_files(_record(chunks=1))

    await store.delete(KEY)
    await store.write(KEY, [b"{}"])

    assert await store.files("s") == []
    with pytest.raises(StoreError, match="is missing"):
        await _content(store, _record(chunks=1))
