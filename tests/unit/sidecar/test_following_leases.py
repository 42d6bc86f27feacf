"""A session passes from a sidecar to a worker and back: who has it stores it, and only that one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from claude_agent_sdk import SessionKey

from supervisor.core.lease import Lease
from supervisor.core.session import SessionState
from supervisor.sidecar.hook import Hook
from supervisor.store.interface import Store
from tests.unit.sidecar.bare_agent import (
    PROJECT,
    BareAgent,
    following,
    is_marked,
    stored,
    until,
    until_stored,
)

pytestmark = pytest.mark.anyio


async def test_a_session_that_a_worker_runs_is_its_own(store: Store, projects: Path) -> None:
    agent = BareAgent(projects)
    await store.create_session(agent.session_id, project_key=PROJECT)
    lease = await store.acquire_lease(agent.session_id, owner="w", ttl=timedelta(hours=1))
    bare = BareAgent(projects)
    async with following(store, projects) as sidecar:
        agent.prompt()
        bare.prompt()
        await until_stored(store, bare)
        assert await stored(store, agent.session_id) == []
        assert [session.session_id for session in sidecar.sessions] == [bare.session_id]

        await store.release_lease(lease)
        agent.lines.clear()  # the worker's to store

        async def is_taken_up() -> bool:
            agent.write(agent.line("user", {"role": "user", "content": "go on"}))
            return bool(await stored(store, agent.session_id))

        await until(is_taken_up)


async def test_what_a_worker_has_brought_to_its_end_stays_so_until_something_new_is_written(
    store: Store, projects: Path
) -> None:
    agent = BareAgent(projects)
    line = agent.line("user", {"role": "user", "content": "Mend the shop."})
    await store.write(SessionKey(project_key=PROJECT, session_id=agent.session_id), [line])
    await store.update_session(agent.session_id, state=SessionState.REACHED, head="a-fork")

    async def stands() -> tuple[SessionState, str | None]:
        row = await store.session(agent.session_id)
        return row.state, row.head

    async def is_at_work() -> bool:
        return await stands() == (SessionState.RUNNING, agent.session_id)

    async with following(store, projects):
        agent.write(line)
        await until(lambda: is_marked(store, projects, agent))
        assert await stands() == (SessionState.REACHED, "a-fork")

        agent.prompt("Now the other one.")
        await until(is_at_work)


async def test_a_worker_that_takes_a_session_has_it(store: Store, projects: Path) -> None:
    agent = BareAgent(projects)
    async with following(store, projects) as sidecar:
        agent.prompt()
        await until_stored(store, agent)
        await store.acquire_lease(agent.session_id, owner="w", ttl=timedelta(hours=1))
        await until(lambda: not sidecar.sessions)


@asynccontextmanager
async def worker(store: Store, agent: BareAgent) -> AsyncIterator[Lease]:
    """Has the session, while the block lasts."""
    lease = await store.acquire_lease(agent.session_id, owner="w", ttl=timedelta(hours=1))
    try:
        yield lease
    finally:
        await store.release_lease(lease)


def bookkeeping(kind: str, at: datetime | None = None) -> bytes:
    """A line without a uuid, as the CLI writes some; not all say when it was."""
    stamp = f', "timestamp": "{at.isoformat()}"' if at is not None else ""
    return f'{{"type": "{kind}"{stamp}}}'.encode()


async def works(store: Store, agent: BareAgent, lease: Lease, lines: Sequence[bytes]) -> None:
    """The worker's agent writes its file, and the worker stores what it is told of it."""
    agent.write(*lines)
    key = SessionKey(project_key=PROJECT, session_id=agent.session_id)
    await store.write(key, lines, lease=lease)
    await store.update_session(agent.session_id, lease=lease, state=SessionState.REACHED)


async def test_what_a_worker_stored_that_had_it_for_a_moment_is_not_stored_again(
    store: Store, projects: Path
) -> None:
    agent = BareAgent(projects)
    async with following(store, projects):
        agent.prompt()
        await until_stored(store, agent)
        async with worker(store, agent) as lease:
            lines = [
                bookkeeping("queue-operation", datetime.now(UTC)),
                agent.line("user", {"role": "user", "content": "Go on."}),
                bookkeeping("last-prompt"),
            ]
            await works(store, agent, lease, lines)
        await until(lambda: is_marked(store, projects, agent))
        assert await stored(store, agent.session_id) == agent.lines
        assert (await store.session(agent.session_id)).state is SessionState.REACHED

        agent.prompt("And the till?")
        agent.write(bookkeeping("last-prompt"))
        await until_stored(store, agent)
        assert (await store.session(agent.session_id)).state is SessionState.RUNNING


async def test_what_no_worker_stored_is_kept_as_history_when_the_session_comes_back(
    store: Store, projects: Path
) -> None:
    agent = BareAgent(projects)
    subagent = BareAgent(projects, subagent_of=agent)
    async with following(store, projects):
        agent.prompt()
        await until_stored(store, agent)
        async with worker(store, agent):
            subagent.prompt()
            subagent.loop()
        agent.prompt("And the till?")
        await until_stored(store, agent, subagent)
        assert await store.verdicts(agent.session_id) == []

        agent.loop()
        await until_stored(store, agent, subagent)
        assert await store.verdicts(agent.session_id) != []


async def test_a_file_that_begins_after_the_worker_let_go_is_taken_whole(
    store: Store, projects: Path
) -> None:
    agent = BareAgent(projects)
    await store.create_session(agent.session_id, project_key=PROJECT)
    async with worker(store, agent):
        pass
    async with following(store, projects):
        agent.write(bookkeeping("mode"), bookkeeping("last-prompt"))
        agent.prompt()
        await until_stored(store, agent)


async def test_the_hooks_of_a_session_that_was_taken_are_nobodys(
    store: Store, projects: Path
) -> None:
    agent = BareAgent(projects)
    hook = Hook(
        event="PreToolUse",
        session_id=agent.session_id,
        transcript_path=str(agent.path),
        agent_id=None,
    )
    async with following(store, projects) as sidecar:
        agent.prompt()
        await until_stored(store, agent)
        followed = await sidecar.session_for(hook)
        assert followed is not None
        async with worker(store, agent):
            agent.prompt("Go on.")
            await followed.read_now()
            assert followed.is_elsewhere
            assert await sidecar.session_for(hook) is None
            assert await stored(store, agent.session_id) == agent.lines[:1]
