"""A real agent on the scripted model, each test's in a home and a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from claude_agent_sdk import ClaudeAgentOptions

from supervisor.store.sqlite import SqliteStore
from supervisor.testing import ScriptedModel

Options = Callable[..., ClaudeAgentOptions]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Options for an agent in a folder of its own, with the scenario's files in it."""

    def build(model: ScriptedModel, **changes: object) -> ClaudeAgentOptions:
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        model.scenario.prepare(work)
        options = ClaudeAgentOptions(
            env=model.env(tmp_path / "home"),
            cwd=work,
            model="claude-sonnet-5",
            permission_mode="bypassPermissions",
            max_turns=model.scenario.max_turns,
        )
        return replace(options, **changes)

    return build


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An open store in the test's folder."""
    async with SqliteStore(tmp_path / "lucid.db") as store:
        yield store
