"""A session waits for a person, and a person answers it: the real SDK, CLI and commands."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import anyio
import pytest

from supervisor.core.session import SessionState
from supervisor.store.interface import SessionRow
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel

pytestmark = pytest.mark.anyio

LIMIT = 60.0
LOOPS = """version: 1
rules:
  - name: ask about loops
    on: loop
    ladder:
      - pause: {ask: 'Is the deployment stuck?'}
"""
ASKS_AT_THE_END = """version: 1
rules:
  - name: a person signs off
    on: stop
    ladder: [pause]
"""
LOOK = {"tool": "Bash", "input": {"command": "cat state.txt"}}
DONE = {"name": "done", "text": "It was rolled back."}


def scenario(*replies: dict[str, Any]) -> Scenario:
    return Scenario.model_validate(
        {"about": "A test's.", "files": {"state.txt": "pending\n"}, "replies": replies}
    )


class Desk:
    """One person's shell, with a store and a policy of its own."""

    def __init__(self, folder: Path, policy: str) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self.store = folder / "lucid.db"
        self.folder = folder
        (folder / "policy.yaml").write_text(policy)

    def env(self, model: ScriptedModel) -> dict[str, str]:
        model.scenario.prepare(self.work)
        own = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder)}
        return own | model.env(self.folder / "home") | {"LUCID_STORE": str(self.store)}

    async def lucid(self, model: ScriptedModel, *arguments: str) -> CompletedProcess[bytes]:
        with anyio.fail_after(LIMIT):
            return await anyio.run_process(
                [sys.executable, "-m", "supervisor.cli", *arguments],
                env=self.env(model),
                cwd=self.work,
                check=False,
            )

    async def run(self, model: ScriptedModel) -> CompletedProcess[bytes]:
        policy = str(self.folder / "policy.yaml")
        return await self.lucid(
            model, "run", "What became of it?", "--policy", policy, "--allow", "Bash"
        )

    async def session(self) -> SessionRow:
        async with SqliteStore(self.store) as store:
            (row,) = await store.sessions()
            return row


async def test_a_loop_is_paused_and_goes_on_when_a_person_rejects_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, LOOPS)
    story = scenario(
        {**DONE, "when": {"told": "rejects it: look into the log"}},
        {"name": "looks again", "calls": [LOOK]},
    )
    async with ScriptedModel(story) as model:
        ran = await desk.run(model)
        row = await desk.session()
        assert ran.returncode == 6, ran.stderr.decode()
        assert (row.state, row.state_reason) == (SessionState.PAUSED, "Is the deployment stuck?")
        assert b"approve" in ran.stdout + ran.stderr

        rejected = await desk.lucid(model, "reject", row.session_id, "look into the log")
        assert rejected.returncode == 0, rejected.stderr.decode()
        assert b"resume" in rejected.stdout

        resumed = await desk.lucid(model, "resume", row.session_id)
        assert resumed.returncode == 0, resumed.stderr.decode()
        assert b"It was rolled back." in resumed.stdout
    async with SqliteStore(desk.store) as store:
        assert await store.words(row.session_id) == []


async def test_what_is_approved_at_its_end_is_reached(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ASKS_AT_THE_END)
    async with ScriptedModel(scenario(DONE)) as model:
        ran = await desk.run(model)
        row = await desk.session()
        assert (ran.returncode, row.state) == (6, SessionState.PAUSED)

        approved = await desk.lucid(model, "approve", row.session_id, "--json")

    assert json.loads(approved.stdout)["answered"] == "finished"
    row = await desk.session()
    assert row.state is SessionState.REACHED
    assert row.state_reason.startswith("approved by ")


async def test_what_is_rejected_at_its_end_goes_on_and_waits_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ASKS_AT_THE_END)
    story = scenario(
        {"name": "says more", "text": "The cause: a 503.", "when": {"told": "say why"}}, DONE
    )
    async with ScriptedModel(story) as model:
        await desk.run(model)
        row = await desk.session()
        await desk.lucid(model, "reject", row.session_id, "say why")
        resumed = await desk.lucid(model, "resume", row.session_id)

    assert resumed.returncode == 6, resumed.stderr.decode()
    assert b"The cause: a 503." in resumed.stdout


async def test_a_running_agent_reads_what_a_person_says_beside_its_next_result(
    tmp_path: Path,
) -> None:
    none = "version: 1\nrules: [{name: none, on: incoherence, ladder: [nudge]}]\n"
    desk = Desk(tmp_path, none)
    waits = {"tool": "Bash", "input": {"command": "sleep 0.5; date +%N"}}
    story = scenario(
        {**DONE, "when": {"told": "A person who watches over your work says: it is enough"}},
        {"name": "works on", "calls": [waits]},
    )
    async with ScriptedModel(story) as model:
        outcome: list[CompletedProcess[bytes]] = []

        async def work() -> None:
            outcome.append(await desk.run(model))

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            with anyio.fail_after(LIMIT):
                while len(model.requests) < 2:  # noqa: ASYNC110 - nothing of ours tells
                    await anyio.sleep(0.05)
            row = await desk.session()
            said = await desk.lucid(model, "say", row.session_id, "it is enough", "--json")

    assert json.loads(said.stdout)["answered"] == "on_its_way"
    assert outcome[0].returncode == 0, outcome[0].stderr.decode()


async def test_nothing_is_approved_that_does_not_wait(tmp_path: Path) -> None:
    desk = Desk(tmp_path, LOOPS)
    async with ScriptedModel(scenario(DONE)) as model:
        await desk.run(model)
        row = await desk.session()

        approved = await desk.lucid(model, "approve", row.session_id)

    assert approved.returncode == 2
    assert b"waits for nobody: it is reached" in approved.stderr
