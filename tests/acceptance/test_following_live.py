"""A real `claude`, run as it is without a hook or a setting, is followed by its transcripts."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from claude_agent_sdk._internal.transport import subprocess_cli

from supervisor.core.verdict import FailureMode
from supervisor.policy.load import load_policy
from supervisor.runtime import registry
from supervisor.settings import Settings
from supervisor.sidecar.sidecar import Sidecar
from supervisor.store.interface import Store
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel

pytestmark = pytest.mark.anyio

CLI = Path(subprocess_cli.__file__).parents[2] / "_bundled" / "claude"
LIMIT_SECONDS = 60.0

TASK = {"description": "look", "prompt": "Look at the notes.", "subagent_type": "general-purpose"}
LOOK = {"tool": "Bash", "input": {"command": "cat notes.txt", "description": "Look"}}

DELEGATES_THEN_LOOPS = Scenario.model_validate(
    {
        "about": "Sends a subagent, then looks at the same file again and again.",
        "objective": "Sum up the notes.",
        "delay": 0.0,
        "files": {"notes.txt": "Nothing of note.\n"},
        "replies": [
            {"name": "reports", "when": {"agent": "subagent", "calls": 1}, "text": "Nothing."},
            {"name": "looks for it", "when": {"agent": "subagent"}, "calls": [LOOK]},
            {
                "name": "sends",
                "when": {"calls": 0},
                "calls": [{"tool": "Agent", "input": {**TASK, "run_in_background": False}}],
            },
            {"name": "gives in", "when": {"calls": {"at_least": 8}}, "text": "Nothing of note."},
            {"name": "looks", "calls": [LOOK]},
        ],
    }
)


async def claude(model: ScriptedModel, folder: Path, *arguments: str) -> None:
    """Run an agent to its end, as anybody would."""
    process = await asyncio.create_subprocess_exec(
        *(str(CLI), *arguments, "--model", "claude-sonnet-5"),
        *("--permission-mode", "bypassPermissions"),
        cwd=folder / "work",
        env={**os.environ, **model.env(folder / "home")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()


def lines(projects: Path) -> list[bytes]:
    """All that stands in the transcripts."""
    files = sorted(projects.rglob("*.jsonl"))
    return sorted(line for file in files for line in file.read_bytes().splitlines())


async def until_all_is_stored(store: Store, projects: Path) -> str:
    """Wait until the one session there is holds every line once; returns its id."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            rows = await store.sessions()
            stored = [entry.raw for row in rows async for entry in store.entries(row.session_id)]
            if rows and sorted(stored) == lines(projects):
                [row] = rows
                return row.session_id
            await asyncio.sleep(0.05)


async def test_an_agent_is_followed_live_and_by_the_next_sidecar_when_it_is_resumed(
    store: SqliteStore, tmp_path: Path
) -> None:
    projects = tmp_path / "home" / ".claude" / "projects"
    policy = load_policy("observe", detectors=registry.detectors(), actions=registry.actions())
    (tmp_path / "work").mkdir()

    def sidecar() -> Sidecar:
        return Sidecar(store=store, folders=[projects], policy=policy, settings=Settings())

    async with ScriptedModel(DELEGATES_THEN_LOOPS) as model:
        model.scenario.prepare(tmp_path / "work")
        async with sidecar():
            await claude(model, tmp_path, "-p", model.scenario.objective or "")
            session_id = await until_all_is_stored(store, projects)
        found = await store.verdicts(session_id)

        # While nobody follows it, it goes on; the next sidecar begins where the last one ended.
        await claude(model, tmp_path, "-p", "And now?", "--resume", session_id)
        async with sidecar():
            assert await until_all_is_stored(store, projects) == session_id

    assert FailureMode.LOOP in {one.failure_mode for one in found}
    entries = [entry async for entry in store.entries(session_id)]
    assert len({entry.agent_id for entry in entries}) == 2
    assert not any(entry.inherited for entry in entries)
    assert [one.id for one in await store.verdicts(session_id)][: len(found)] == [
        one.id for one in found
    ]
    assert (await store.session(session_id)).objective == "Sum up the notes."
