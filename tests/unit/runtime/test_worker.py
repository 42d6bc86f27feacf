"""Which sessions a worker takes, in which order, and what it leaves alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from supervisor.core.session import SessionState
from supervisor.runtime.policies import chosen_policy
from supervisor.runtime.submission import Submission, new_session
from supervisor.runtime.worker import Worker, poll
from supervisor.store.interface import SessionRow
from supervisor.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

LONG = timedelta(minutes=5)


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    async with SqliteStore(None) as store:
        yield store


async def queued(
    store: SqliteStore,
    folder: Path,
    *,
    state: SessionState = SessionState.QUEUED,
    submission: Submission | None = None,
) -> SessionRow:
    return await new_session(
        store,
        "Do it.",
        submission or Submission(),
        chosen_policy("observe"),
        cwd=folder,
        state=state,
    )


async def orphaned(store: SqliteStore, folder: Path, submission: Submission) -> SessionRow:
    """A session whose worker is gone."""
    row = await queued(store, folder, state=SessionState.RUNNING, submission=submission)
    lease = await store.acquire_lease(row.session_id, owner="gone", ttl=LONG)
    await store.release_lease(lease)
    return row


async def ids(worker: Worker) -> list[str]:
    return [row.session_id for row in await worker.candidates()]


async def test_the_highest_priority_comes_first_and_then_the_oldest(
    store: SqliteStore, tmp_path: Path
) -> None:
    rows = [
        await queued(store, tmp_path, submission=Submission(priority=priority))
        for priority in (0, 5, 0, 5, -1)
    ]

    assert await ids(Worker(store)) == [rows[n].session_id for n in (1, 3, 0, 2, 4)]


async def test_a_session_whose_worker_is_gone_is_taken_and_one_that_is_held_is_not(
    store: SqliteStore, tmp_path: Path
) -> None:
    orphan = await orphaned(store, tmp_path, Submission())
    held = await queued(store, tmp_path)
    await store.acquire_lease(held.session_id, owner="another", ttl=LONG)

    assert await ids(Worker(store)) == [orphan.session_id]


async def test_a_session_of_a_shell_is_its_own_unless_the_worker_adopts(
    store: SqliteStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = await orphaned(store, tmp_path, Submission(by="run"))
    worker = Worker(store)

    assert await ids(worker) == []
    assert await ids(worker) == []
    assert await ids(Worker(store, adopts=True)) == [row.session_id]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "lucid resume" in caplog.text


async def test_a_session_whose_folder_is_not_here_is_left_to_others_or_runs_elsewhere(
    store: SqliteStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = await queued(store, tmp_path / "not-here")

    assert await ids(Worker(store)) == []
    assert f"its folder {tmp_path / 'not-here'} is not on this host" in caplog.text
    assert await ids(Worker(store, elsewhere=tmp_path)) == [row.session_id]


async def test_sessions_that_are_left_alone_do_not_hide_those_behind_them(
    store: SqliteStore, tmp_path: Path
) -> None:
    for _ in range(120):
        await queued(store, tmp_path / "not-here")
    row = await queued(store, tmp_path)
    worker = Worker(store)

    await worker.candidates()

    assert await ids(worker) == [row.session_id]


async def test_a_session_that_cannot_be_run_is_left_broken_with_the_reason(
    store: SqliteStore, tmp_path: Path
) -> None:
    gone = Submission(mcp_config=str(tmp_path / "gone.json"))
    row = await queued(store, tmp_path, submission=gone)

    await poll(Worker(store), concurrency=2, until_idle=True)

    left = await store.session(row.session_id)
    assert left.state is SessionState.BROKEN
    assert left.state_reason.startswith("the MCP configuration")
    assert left.lease is None


async def test_a_policy_that_cannot_be_had_here_breaks_the_session_and_not_the_worker(
    store: SqliteStore, tmp_path: Path
) -> None:
    row = await queued(store, tmp_path)
    policy = (row.policy or "").replace('"action":"nudge"', '"action":"a_plugin_s"')
    await store.update_session(row.session_id, policy=policy)

    await poll(Worker(store), concurrency=2, until_idle=True)

    left = await store.session(row.session_id)
    assert left.state is SessionState.BROKEN
    assert "its policy cannot be used here: unknown action 'a_plugin_s'" in left.state_reason


async def test_a_session_that_kills_its_workers_before_it_begins_is_not_taken_for_ever(
    store: SqliteStore, tmp_path: Path
) -> None:
    row = await queued(store, tmp_path)
    for number in range(5):
        lease = await store.acquire_lease(row.session_id, owner=f"dead {number}", ttl=LONG)
        await store.release_lease(lease)

    await poll(Worker(store), concurrency=2, until_idle=True)

    left = await store.session(row.session_id)
    assert left.state is SessionState.BROKEN
    assert "taken 5 times" in left.state_reason


async def test_a_session_that_is_gone_held_or_ended_by_now_is_passed_over(
    store: SqliteStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = await queued(store, tmp_path, state=SessionState.REACHED)
    held = await queued(store, tmp_path)
    await store.acquire_lease(held.session_id, owner="another", ttl=LONG)
    worker = Worker(store)

    with caplog.at_level(logging.INFO, "supervisor"):
        for session_id in (ended.session_id, held.session_id, "gone"):
            await worker.take(session_id)

    assert caplog.records == []
    assert (await store.session(ended.session_id)).state is SessionState.REACHED


async def test_a_worker_that_cannot_look_for_sessions_shows_that_and_looks_again(
    tmp_path: Path,
) -> None:
    async with SqliteStore(tmp_path / "lucid.db") as store:
        worker = Worker(store)
    before = looked_in_vain()
    polling = asyncio.create_task(poll(worker, concurrency=1))
    async with asyncio.timeout(10):
        while looked_in_vain() == before:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)
        await worker.drain(1.0)
        await polling


def looked_in_vain() -> float:
    return REGISTRY.get_sample_value("lucid_store_errors_total", {"operation": "look"}) or 0.0


async def test_a_drained_worker_takes_nothing_and_its_polling_ends(
    store: SqliteStore, tmp_path: Path
) -> None:
    worker = Worker(store)
    polling = asyncio.create_task(poll(worker, concurrency=1))
    await asyncio.sleep(0)
    await worker.drain(1.0)
    async with asyncio.timeout(10):
        await polling
    row = await queued(store, tmp_path)

    await worker.take(row.session_id)

    assert (await store.session(row.session_id)).state is SessionState.QUEUED
    assert (worker.running, worker.resumable) == (0, 0)
