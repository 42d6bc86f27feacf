"""Followed folders: held by one sidecar at a time, and how far their files were read."""

from __future__ import annotations

from datetime import timedelta

import pytest
from claude_agent_sdk import SessionKey

from supervisor.core.lease import Lease
from supervisor.errors import LeaseHeld, LeaseLost
from supervisor.store.folders import FileMark, Folder
from supervisor.store.interface import Store

pytestmark = pytest.mark.anyio

LONG = timedelta(hours=1)
OVER = timedelta(0)


def mark(path: str, offset: int) -> FileMark:
    return FileMark(
        path=path,
        offset=offset,
        number=3,
        fingerprint="ab",
        fingerprinted=100,
        session_id="s",
        judged=12,
    )


def lease_of(folder: Folder) -> Lease:
    assert folder.lease is not None
    return folder.lease


async def test_a_folder_that_nobody_followed_is_unknown(store: Store) -> None:
    assert await store.folder("host:/p") is None
    assert await store.marks("host:/p") == []


async def test_a_folder_is_held_by_one_at_a_time(store: Store) -> None:
    first = await store.acquire_folder("host:/p", owner="a", ttl=LONG)
    with pytest.raises(LeaseHeld, match="host:/p is followed by a until"):
        await store.acquire_folder("host:/p", owner="b", ttl=LONG)

    await store.release_folder(lease_of(first))
    second = await store.acquire_folder("host:/p", owner="b", ttl=LONG)

    assert (lease_of(first).epoch, lease_of(second).epoch) == (1, 2)
    assert second.followed_at == first.followed_at
    assert await store.folder("host:/p") == second


async def test_the_folders_that_somebody_follows_now_are_listed(store: Store) -> None:
    await store.acquire_folder("host:/over", owner="a", ttl=OVER)
    second = await store.acquire_folder("host:/q", owner="b", ttl=LONG)
    first = await store.acquire_folder("host:/p", owner="a", ttl=LONG)
    gone = lease_of(await store.acquire_folder("host:/gone", owner="a", ttl=LONG))
    await store.release_folder(gone)

    assert await store.live_folders() == [first, second]


async def test_another_folder_is_another_matter(store: Store) -> None:
    await store.acquire_folder("host:/p", owner="a", ttl=LONG)
    await store.acquire_folder("host:/q", owner="b", ttl=LONG)


async def test_who_lost_a_folder_can_neither_renew_nor_mark_it(store: Store) -> None:
    lost = lease_of(await store.acquire_folder("host:/p", owner="a", ttl=OVER))
    ours = lease_of(await store.acquire_folder("host:/p", owner="b", ttl=LONG))

    with pytest.raises(LeaseLost):
        await store.renew_folder(lost, ttl=LONG)
    with pytest.raises(LeaseLost):
        await store.keep_marks([mark("a.jsonl", 1)], lease=lost)
    await store.release_folder(lost)

    assert lease_of(await store.renew_folder(ours, ttl=LONG)).epoch == 2
    assert await store.marks("host:/p") == []


async def test_the_newest_mark_of_each_file_is_kept(store: Store) -> None:
    lease = lease_of(await store.acquire_folder("host:/p", owner="a", ttl=LONG))
    await store.keep_marks([mark("b/é.jsonl", 1), mark("a.jsonl", 2)], lease=lease)
    await store.keep_marks([mark("a.jsonl", 3)], lease=lease)
    await store.keep_marks([], lease=lease)

    assert await store.marks("host:/p") == [mark("a.jsonl", 3), mark("b/é.jsonl", 1)]


async def test_the_session_of_an_sdk_session_is_found(store: Store) -> None:
    key = SessionKey(project_key="p", session_id="sdk", subpath="subagents/agent-a")
    await store.write(key, [b'{"type":"user"}'], session_id="ours")

    assert await store.session_of("p", "sdk") == "ours"
    assert await store.session_of("p", "ours") is None
    assert await store.session_of("q", "sdk") is None


async def test_the_leases_on_sessions_that_are_alive_are_listed(store: Store) -> None:
    for name in ("run", "over", "bare"):
        await store.create_session(name, project_key="p")
    lease = await store.acquire_lease("run", owner="me", ttl=LONG)
    await store.acquire_lease("over", owner="me", ttl=OVER)

    assert await store.live_leases() == [lease]
