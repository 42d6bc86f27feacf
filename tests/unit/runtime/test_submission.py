"""How a session's agent is to be run, written down and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.core.session import SessionState
from supervisor.errors import SupervisorError
from supervisor.runtime.policies import chosen_policy
from supervisor.runtime.submission import Submission, new_session
from supervisor.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

FULL = Submission(
    by="run",
    priority=3,
    model="claude-haiku-4-5",
    max_turns=7,
    max_budget_usd=1.5,
    allow=("Bash", "Read"),
    permission_mode="acceptEdits",
    system_prompt="You are terse.",
)


async def test_what_was_asked_for_is_kept_with_the_session(tmp_path: Path) -> None:
    async with SqliteStore(None) as store:
        row = await new_session(
            store, "Do it.", FULL, chosen_policy("observe"), cwd=tmp_path, state=SessionState.QUEUED
        )

    assert Submission.of(row) == FULL
    assert row.cwd == str(tmp_path)
    assert row.objective == "Do it."


def test_it_becomes_options_of_an_agent(tmp_path: Path) -> None:
    options = FULL.options(tmp_path)

    assert options.model == "claude-haiku-4-5"
    assert (options.max_turns, options.max_budget_usd) == (7, 1.5)
    assert options.allowed_tools == ["Bash", "Read"]
    assert options.permission_mode == "acceptEdits"
    assert options.system_prompt == "You are terse."
    assert options.cwd == tmp_path


def test_the_system_prompt_is_claude_codes_own_unless_another_is_asked_for() -> None:
    assert Submission().options(None).system_prompt == {"type": "preset", "preset": "claude_code"}


def test_what_is_asked_for_anew_comes_before_what_was_asked_for_first() -> None:
    changed = FULL.changed_by(Submission(model="claude-opus-5", allow=("Write",)))

    assert (changed.model, changed.allow) == ("claude-opus-5", ("Write",))
    assert (changed.by, changed.priority, changed.max_turns) == ("run", 3, 7)


def test_an_mcp_configuration_that_is_not_on_this_host_is_named(tmp_path: Path) -> None:
    with pytest.raises(SupervisorError, match="--mcp-config"):
        Submission(mcp_config=str(tmp_path / "gone.json")).options(tmp_path)


async def test_a_submission_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    async with SqliteStore(None) as store:
        row = await store.create_session("s", project_key="p", submission='{"max_turns": "many"}')

    with pytest.raises(SupervisorError, match="another version of Lucid"):
        Submission.of(row)
