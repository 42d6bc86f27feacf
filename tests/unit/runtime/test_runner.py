"""A session's run, as far as it gets without an agent: who may begin it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from claude_agent_sdk import ClaudeAgentOptions

from supervisor.core.session import SessionState
from supervisor.errors import LeaseHeld
from supervisor.runtime.policies import chosen_policy, policy_of
from supervisor.runtime.runner import SessionEnded, SessionRun
from supervisor.runtime.submission import Submission, new_session
from supervisor.store.interface import SessionRow
from supervisor.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteStore]:
    monkeypatch.setenv("LUCID_SPOOL", str(tmp_path / "spool"))
    async with SqliteStore(None) as store:
        yield store


async def queued(store: SqliteStore, folder: Path) -> SessionRow:
    policy = chosen_policy("observe")
    return await new_session(
        store, "Do it.", Submission(), policy, cwd=folder, state=SessionState.QUEUED
    )


def claimed(row: SessionRow, store: SqliteStore, folder: Path) -> SessionRun:
    """A run whose agent could not even be started."""
    options = ClaudeAgentOptions(cwd=folder, cli_path=folder / "no-such-cli")
    return SessionRun(row, store, options, policy_of(row), claims=True)


async def test_a_session_that_ended_since_it_was_found_is_left_as_it_is(
    store: SqliteStore, tmp_path: Path
) -> None:
    found = await queued(store, tmp_path)
    await store.update_session(
        found.session_id, state=SessionState.REACHED, state_reason="another worker did it"
    )

    with pytest.raises(SessionEnded, match="reached"):
        await claimed(found, store, tmp_path).run()

    row = await store.session(found.session_id)
    assert (row.state, row.state_reason) == (SessionState.REACHED, "another worker did it")
    assert row.lease is None


async def test_a_session_that_another_worker_has_is_not_begun(
    store: SqliteStore, tmp_path: Path
) -> None:
    found = await queued(store, tmp_path)
    await store.acquire_lease(found.session_id, owner="another", ttl=timedelta(minutes=1))

    with pytest.raises(LeaseHeld, match="another"):
        await claimed(found, store, tmp_path).run()

    assert (await store.session(found.session_id)).state is SessionState.QUEUED


async def test_a_session_keeps_the_policy_that_it_was_submitted_under(
    store: SqliteStore, tmp_path: Path
) -> None:
    row = await queued(store, tmp_path)

    assert policy_of(row) == chosen_policy("observe")
