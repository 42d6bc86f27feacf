"""Transcripts are followed as they are written, each line once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from supervisor.core.verdict import FailureMode, Verdict
from supervisor.sidecar.sidecar import Sidecar
from supervisor.store.interface import Store
from tests.unit.sidecar.bare_agent import (
    LONGEST,
    PROJECT,
    BareAgent,
    following,
    is_marked,
    stored,
    until,
    until_stored,
)

pytestmark = pytest.mark.anyio

LONG_AGO = datetime.now(UTC) - timedelta(days=3)


async def first_verdict(sidecar: Sidecar) -> Verdict:
    with anyio.fail_after(LONGEST):
        async for event in sidecar.events():
            if isinstance(event, Verdict):
                return event
    raise AssertionError("the events ended")


async def test_a_loop_is_found_as_it_is_written(store: Store, projects: Path) -> None:
    agent = BareAgent(projects)
    async with following(store, projects) as sidecar, anyio.create_task_group() as tasks:
        found: list[Verdict] = []

        async def listen() -> None:
            found.append(await first_verdict(sidecar))

        tasks.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        agent.prompt()
        agent.loop()
        await until(lambda: bool(found))

    assert found[0].failure_mode is FailureMode.LOOP
    row = await store.session(agent.session_id)
    assert (row.project_key, row.cwd, row.objective) == (
        PROJECT,
        "/home/user/shop",
        "Mend the shop.",
    )
    assert row.verdicts >= 1
    assert await stored(store, agent.session_id) == agent.lines


async def test_it_does_without_file_events(store: Store, projects: Path) -> None:
    agent = BareAgent(projects)
    async with following(store, projects, watch="poll"):
        agent.prompt()
        await until_stored(store, agent)
        agent.loop(1)
        await until_stored(store, agent)


async def test_subagents_belong_to_their_parents_session(store: Store, projects: Path) -> None:
    parent = BareAgent(projects)
    below = BareAgent(projects, subagent_of=parent)
    beside = BareAgent(projects, subagent_of=parent, beside=True)
    async with following(store, projects):
        for agent in (parent, below, beside):
            agent.prompt()
            agent.loop(1)
        await until_stored(store, parent, below, beside)

    entries = [entry async for entry in store.entries(parent.session_id)]
    assert {entry.agent_id for entry in entries} == {None, below.agent_id, beside.agent_id}


async def test_a_half_written_line_is_waited_for(store: Store, projects: Path) -> None:
    agent = BareAgent(projects)
    agent.prompt()
    line = agent.line("user", {"role": "user", "content": "and the till"})
    async with following(store, projects):
        with agent.path.open("ab") as file:
            file.write(line[:50])
            file.flush()
            await until_stored(store, agent)
            file.write(line[50:] + b"\n")
        agent.lines.append(line)
        await until_stored(store, agent)


async def test_a_file_cut_short_is_read_from_its_start(store: Store, projects: Path) -> None:
    agent = BareAgent(projects)
    async with following(store, projects):
        agent.prompt()
        agent.loop(3)
        await until_stored(store, agent)
        agent.path.write_bytes(agent.lines[0] + b"\n")
        agent.ends_turn()
        await until_stored(store, agent)

    incidents = await store.incidents(agent.session_id)
    assert ["shrank" in incident.message for incident in incidents] == [True]


async def test_a_file_put_in_anothers_place_is_read_from_its_start(
    store: Store, projects: Path, tmp_path: Path
) -> None:
    agent = BareAgent(projects)
    other = BareAgent(tmp_path / "elsewhere", agent.session_id)
    other.prompt("Close the shop.")
    other.loop(3)
    async with following(store, projects):
        agent.prompt()
        await until_stored(store, agent)
        other.path.rename(agent.path)
        await until_stored(store, agent, other)


async def test_the_transcripts_of_all_versions_are_kept_as_they_are(
    store: Store, projects: Path, fixtures: Path
) -> None:
    old = [
        file
        for file in sorted((fixtures / "transcripts").glob("cli-*.jsonl"))
        if "subagent" not in file.name and "fork" not in file.name
    ]
    assert len(old) >= 5
    agents = [BareAgent(projects) for _ in old]
    async with following(store, projects):
        for agent, file in zip(agents, old, strict=True):
            agent.write(*file.read_bytes().splitlines())
        for agent in agents:
            await until_stored(store, agent)


async def test_history_is_known_and_not_judged(store: Store, projects: Path) -> None:
    agent = BareAgent(projects)
    agent.prompt(at=LONG_AGO)
    agent.loop(8, at=LONG_AGO)
    async with following(store, projects):
        agent.prompt("Try again.")
        await until_stored(store, agent)
        assert await store.verdicts(agent.session_id) == []

        agent.loop(8)
        await until_stored(store, agent)

    entries = [entry async for entry in store.entries(agent.session_id)]
    assert [entry.inherited for entry in entries] == [True] * 17 + [False] * 17
    assert {v.seq > 18 for v in await store.verdicts(agent.session_id)} == {True}


async def test_what_nobody_goes_on_with_is_left_alone(store: Store, projects: Path) -> None:
    done = BareAgent(projects)
    done.prompt(at=LONG_AGO)
    os.utime(done.path, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    async with following(store, projects):
        fresh = BareAgent(projects)
        fresh.prompt()
        await until_stored(store, fresh)

    assert [row.session_id for row in await store.sessions()] == [fresh.session_id]


async def test_a_folder_that_is_not_there_is_waited_for(store: Store, tmp_path: Path) -> None:
    projects = tmp_path / "later" / "projects"
    agent = BareAgent(projects)
    async with following(store, projects, ready=False) as sidecar:
        await until(lambda: sidecar.not_ready() == (f"{projects}: it is not there yet",))
        agent.prompt()
        await until_stored(store, agent)
        assert sidecar.not_ready() == ()

        shutil.rmtree(projects)
        again = BareAgent(projects)
        again.prompt()
        await until_stored(store, again)


async def test_what_leads_out_of_the_folder_is_refused(
    store: Store, projects: Path, tmp_path: Path
) -> None:
    outside = BareAgent(tmp_path / "outside")
    outside.prompt()
    agent = BareAgent(projects)
    async with following(store, projects) as sidecar:
        (projects / "a").symlink_to(outside.path.parent, target_is_directory=True)
        (projects / "b.jsonl").symlink_to(outside.path)
        agent.prompt()
        await until_stored(store, agent)
        await until(lambda: sidecar.refused >= 2)

    assert [row.session_id for row in await store.sessions()] == [agent.session_id]


async def test_a_file_with_a_name_that_is_no_text_is_left_alone(
    store: Store, projects: Path
) -> None:
    agent = BareAgent(projects)
    async with following(store, projects) as sidecar:
        agent.prompt()
        _copy(agent.path, b"\xff.jsonl")
        await until(lambda: sidecar.refused >= 1)
        agent.loop()
        await until_stored(store, agent)
        # Marks are kept with each beat; of that name none could be.
        await until(lambda: is_marked(store, projects, agent))
        assert sidecar.not_ready() == ()


def _copy(path: Path, name: bytes) -> None:
    """Put another file of the same content beside it."""
    shutil.copyfile(path, os.fsencode(path.parent) + b"/" + name)


async def test_what_a_session_is_called_inside_of_a_file_is_no_id_where_it_cannot_be_one(
    store: Store, projects: Path
) -> None:
    agent, liar = BareAgent(projects), BareAgent(projects, "a\0b")
    liar.path = liar.path.with_name("liar.jsonl")
    async with following(store, projects):
        liar.prompt()
        agent.prompt()
        await until_stored(store, agent)

    assert [row.session_id for row in await store.sessions()] == [agent.session_id]


async def test_a_session_that_is_silent_has_ended_until_it_goes_on(
    store: Store, projects: Path
) -> None:
    agent = BareAgent(projects)

    def stands(state: str, reason: str) -> Callable[[], Awaitable[bool]]:
        async def does() -> bool:
            row = await store.session(agent.session_id)
            return (row.state, row.state_reason) == (state, reason)

        return does

    async with following(store, projects, silent_seconds=0.3) as sidecar:
        agent.prompt()
        agent.ends_turn()
        await until_stored(store, agent)
        await until(stands("reached", ""))
        await until(lambda: not sidecar.sessions)

        agent.prompt("And the till?")
        await until_stored(store, agent)
        await until(stands("closed", "silent for 0.02 minutes, in the midst of a turn"))


async def test_what_was_put_down_is_known_when_it_comes_back(
    store: Store, projects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.sidecar.following.MOST_SESSIONS", 1)
    agent, other = BareAgent(projects), BareAgent(projects)
    async with following(store, projects) as sidecar:
        agent.prompt()
        agent.loop(2)
        await until_stored(store, agent)
        other.prompt()
        await until(lambda: [one.session_id for one in sidecar.sessions] == [other.session_id])

        agent.loop(2)  # the third time, it is a loop
        await until_stored(store, agent)
        await until(lambda: _has_verdicts(store, agent))
    assert (await store.session(agent.session_id)).state == "running"


async def _has_verdicts(store: Store, agent: BareAgent) -> bool:
    return bool(await store.verdicts(agent.session_id))


async def test_a_drain_judges_what_is_there_and_ends_the_events(
    store: Store, projects: Path
) -> None:
    agent = BareAgent(projects)
    told: list[object] = []
    async with following(store, projects, watch="poll") as sidecar:

        async def listen() -> None:
            async for event in sidecar.events():
                told.append(event)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            agent.prompt()
            await until_stored(store, agent)
            agent.loop(6)  # between two surveys
            await sidecar.drain(10)

        assert sidecar.not_ready()[-1] == "the sidecar is draining"
    assert any(isinstance(event, Verdict) for event in told)
    await until_stored(store, agent)
