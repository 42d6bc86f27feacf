"""A sidecar that ends, however it ends, is followed by another: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from supervisor.sidecar.hook import Hook
from supervisor.store.interface import Store
from supervisor.store.sqlite import SqliteStore
from tests.unit.sidecar.bare_agent import LONGEST, BareAgent, following, until, until_stored

pytestmark = pytest.mark.anyio

SIDECAR = """
import asyncio, sys
from pathlib import Path
from supervisor.store.sqlite import SqliteStore
from tests.unit.sidecar.bare_agent import following

async def main(database, folder):
    async with SqliteStore(Path(database)) as store, following(store, Path(folder)):
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def another(database: Path, projects: Path) -> Iterator[subprocess.Popen[str]]:
    """A sidecar in another process, ready."""
    command = [sys.executable, "-c", SIDECAR, str(database), str(projects)]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def hook_of(agent: BareAgent, path: Path | None = None) -> Hook:
    return Hook(
        event="PreToolUse",
        session_id=agent.session_id,
        transcript_path=str(path or agent.path),
        agent_id=None,
    )


async def judged_once(store: Store, agent: BareAgent) -> None:
    """Each loop was found, and decided on, once."""
    verdicts = [one.id for one in await store.verdicts(agent.session_id)]
    decided = [one.verdict.id for one in await store.decisions(agent.session_id)]
    assert len(set(verdicts)) == len(verdicts)
    assert sorted(decided) == sorted(verdicts)


async def test_what_was_written_meanwhile_is_judged_by_the_next(
    store: Store, projects: Path
) -> None:
    agent, new = BareAgent(projects), BareAgent(projects)
    async with following(store, projects):
        agent.prompt()
        agent.loop(2)
        await until_stored(store, agent)
    agent.loop(2)
    new.prompt()
    new.loop(4)
    async with following(store, projects):
        await until_stored(store, agent)
        await until_stored(store, new)

    for one in (agent, new):
        assert await store.verdicts(one.session_id) != []
        await judged_once(store, one)


async def test_one_that_is_killed_is_followed_by_one_that_stood_by(
    store: Store, projects: Path
) -> None:
    assert isinstance(store, SqliteStore)
    assert store.path is not None
    agents = [BareAgent(projects) for _ in range(5)]
    # Renewed by a live process, the lease lasts; of a process that is gone, it counts no more.
    with another(store.path, projects) as first:
        async with following(store, projects, ready=False, lease_seconds=600) as sidecar:
            await until(lambda: "standing by" in "".join(sidecar.not_ready()))
            for agent in agents:
                agent.prompt()
            await asyncio.gather(*(until_stored(store, agent) for agent in agents))
            assert await sidecar.session_for(hook_of(agents[0])) is None

            for agent in agents:
                agent.loop(6)
            first.kill()
            for agent in agents:
                agent.loop(2)
            await until(lambda: not sidecar.not_ready())
            await asyncio.gather(*(until_stored(store, agent) for agent in agents))
    for agent in agents:
        entries = [entry async for entry in store.entries(agent.session_id)]
        assert [entry.raw for entry in entries] == agent.lines
        await judged_once(store, agent)
        assert await store.verdicts(agent.session_id) != []


async def test_what_was_stored_and_not_judged_is_judged_by_the_next(
    store: Store, projects: Path
) -> None:
    agent = BareAgent(projects)
    async with following(store, projects):
        agent.prompt()
        await until_stored(store, agent)
    agent.loop(6)
    key = {"project_key": "-work-shop", "session_id": agent.session_id}
    await store.write(key, agent.lines[1:], offsets=_offsets(agent)[1:])  # type: ignore[arg-type] # a literal

    async with following(store, projects):
        await until(lambda: _has_verdicts(store, agent))
        await until_stored(store, agent)
    await judged_once(store, agent)


def _offsets(agent: BareAgent) -> list[int]:
    offsets = [0]
    for line in agent.lines:
        offsets.append(offsets[-1] + len(line) + 1)
    return offsets[:-1]


async def _has_verdicts(store: Store, agent: BareAgent) -> bool:
    return bool(await store.verdicts(agent.session_id))


async def test_a_hook_finds_its_session_as_soon_as_its_transcript_is_there(
    store: Store, projects: Path, tmp_path: Path
) -> None:
    agent, outside = BareAgent(projects), BareAgent(tmp_path / "outside")
    outside.prompt()
    async with following(store, projects) as sidecar:
        assert sidecar.expects(hook_of(agent))
        assert await sidecar.session_for(hook_of(agent)) is None
        assert await store.sessions(5) == []
        agent.prompt()
        session = await sidecar.session_for(hook_of(agent))
        assert session is not None
        assert session is await sidecar.session_for(hook_of(agent))
        assert not sidecar.expects(hook_of(agent))
        agent.loop(6)
        await session.read_now()
        assert session.supervision.seq == len(agent.lines)
        assert await store.verdicts(session.session_id) != []

        other_kind, above = agent.path.with_suffix(".db"), projects / ".." / "x" / agent.path.name
        for path in (outside.path, other_kind, above, Path("a.jsonl")):
            assert await sidecar.session_for(hook_of(agent, path)) is None
            assert not sidecar.expects(hook_of(agent, path))
        wrong = BareAgent(projects)
        assert await sidecar.session_for(hook_of(wrong, agent.path)) is None


async def test_a_session_outlives_its_transcript(store: Store, projects: Path) -> None:
    agent = BareAgent(projects)
    async with following(store, projects):
        agent.prompt()
        await until_stored(store, agent)
    agent.path.unlink()
    async with following(store, projects) as sidecar:
        session = await sidecar.session_for(hook_of(agent))
        assert session is not None
        assert session.session_id == agent.session_id


async def test_no_transcript_is_expected_behind_a_link(
    store: Store, projects: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    agent = BareAgent(projects)
    agent.path.parent.symlink_to(tmp_path / "outside")
    async with following(store, projects) as sidecar:
        assert not sidecar.expects(hook_of(agent))
        agent.path.symlink_to(tmp_path / "nothing.jsonl")
        assert not sidecar.expects(hook_of(agent))


async def test_a_pipe_in_a_transcripts_place_keeps_nobody_waiting(
    store: Store, projects: Path
) -> None:
    agent, trap = BareAgent(projects), BareAgent(projects)
    trap.path.parent.mkdir()
    os.mkfifo(trap.path)
    async with following(store, projects) as sidecar:
        with anyio.fail_after(LONGEST):
            assert await sidecar.session_for(hook_of(trap)) is None
        agent.prompt()
        await until_stored(store, agent)


async def test_a_hook_brings_its_subagents_transcript_up_to_date(
    store: Store, projects: Path
) -> None:
    agent = BareAgent(projects)
    agent.prompt()
    async with following(store, projects) as sidecar:
        subagent = BareAgent(projects, subagent_of=agent)
        subagent.prompt()
        hook = Hook(
            event="PreToolUse",
            session_id=agent.session_id,
            transcript_path=str(agent.path),
            agent_id=subagent.agent_id,
        )
        session = await sidecar.session_for(hook)
        assert session is not None
        await session.read_now()
        await until_stored(store, agent, subagent)


async def test_a_session_that_ended_is_put_down_and_taken_up_again(
    store: Store, projects: Path
) -> None:
    agent = BareAgent(projects)
    async with following(store, projects) as sidecar:
        agent.prompt()
        agent.ends_turn()
        session = await sidecar.session_for(hook_of(agent))
        assert session is not None
        await session.ended("the agent's process has ended")
        assert (await store.session(agent.session_id)).state == "reached"
        assert not sidecar.sessions

        agent.prompt("And the till?")
        await until_stored(store, agent)
        assert (await store.session(agent.session_id)).state == "running"


async def test_what_a_store_that_is_away_cannot_take_waits_in_its_file(
    projects: Path, tmp_path: Path
) -> None:
    database = tmp_path / "busy.db"
    agent = BareAgent(projects)
    async with (
        SqliteStore(database, busy_timeout=0.05) as store,
        following(store, projects) as sidecar,
    ):
        agent.prompt()
        await until_stored(store, agent)
        with contextlib.closing(sqlite3.connect(database)) as other:
            other.execute("BEGIN EXCLUSIVE")
            agent.loop(6)
            # What the store says of itself is in the log: anybody may ask for readiness.
            await until(lambda: sidecar.not_ready() == ("the store is away",))
            other.rollback()
        await until_stored(store, agent)
        await until(lambda: not sidecar.not_ready())
        await until(lambda: _has_verdicts(store, agent))
