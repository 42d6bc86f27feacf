"""A real agent's files are brought back with its conversation, and on another host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import ClaudeAgentOptions, Message, ResultMessage, SystemMessage

from supervisor import SupervisedClient
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.filekeeping import FileKeeping
from supervisor.runtime.supervision import Supervision
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import ScriptedModel
from tests.unit.files.conftest import git, state, with_times

pytestmark = pytest.mark.anyio

Options = Callable[..., ClaudeAgentOptions]


@pytest.fixture(autouse=True)
def _home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def scenario(fixtures: Path) -> Path:
    return fixtures / "scenarios" / "breaks-then-loops.yaml"


def policy(files: str) -> Policy:
    return parse_policy(
        "version: 1\nrules:\n"
        f"  - {{name: loops, on: loop, ladder: [{{rollback: {{files: {files}}}}}]}}\n",
        "p.yaml",
        detectors=registry.detectors(),
        actions=registry.actions(),
    )


async def run(client: SupervisedClient, objective: str | None) -> list[Message]:
    """One turn, which has to end well, and whose checkpoints have to go well."""
    async with client:
        await client.query(objective or "")
        messages = [message async for message in client.receive_response()]
    result = messages[-1]
    assert isinstance(result, ResultMessage)
    assert result.subtype == "success"
    assert [m for m in messages if getattr(m, "subtype", "") == "lucid_incident"] == []
    decided = [m.data for m in messages if isinstance(m, SystemMessage)]
    assert [d["action"] for d in decided if d.get("choice") == "act"] == ["rollback"]
    return messages


def told(model: ScriptedModel) -> str:
    """The prompt after the rollback, as the model got to read it."""
    messages: list[Any] = model.requests[-1].body["messages"]
    texts = (m["content"] for m in messages if isinstance(m["content"], str))
    return next(text for text in texts if "took you back" in text)


@pytest.mark.parametrize("under_git", [False, True])
async def test_a_rollback_brings_files_back_to_where_the_conversation_is(
    under_git: bool, options: Options, store: SqliteStore, tmp_path: Path, scenario: Path
) -> None:
    work = tmp_path / "work"
    async with ScriptedModel(scenario) as model:
        given = options(model)
        if under_git:
            git(work, "init", "--quiet")
            git(work, "add", "app.txt")
            git(work, "commit", "--quiet", "--message=first")
            git(work, "branch", "theirs")
        theirs = with_times(work / ".git")
        before = state(work)
        client = SupervisedClient(given, store=store, policy=policy("restore"))
        await run(client, model.scenario.objective)
        said = told(model)

    after = state(work)
    # What the agent can still see of its doings is kept, what followed is undone, and what
    # is ignored is left alone.
    assert after.pop("note.txt")[2] == b"known"
    assert after.pop("first.txt")[2] == b""
    assert after.pop("secret.log")[2].startswith(b"ignored")
    assert after == {name: held for name, held in before.items() if name != "secret.log"}
    assert with_times(work / ".git") == theirs
    assert '- Set back: "app.txt"' in said
    assert '- Removed, created since: "trail.txt"\n' in said
    assert "do not repeat what is done" in said
    assert '- "Bash": "if [ -e first.txt ]' in said
    assert "note.txt" not in said
    assert said.endswith("</lucid>")


async def test_by_default_files_are_left_and_the_calls_are_named(
    options: Options, store: SqliteStore, tmp_path: Path, scenario: Path
) -> None:
    async with ScriptedModel(scenario) as model:
        client = SupervisedClient(options(model), store=store, policy=policy("keep"))
        await run(client, model.scenario.objective)
        said = told(model)

    assert (tmp_path / "work" / "app.txt").read_text() == "broken\n"
    assert (tmp_path / "work" / "trail.txt").exists()
    assert '- "Bash": "if [ -e first.txt ]' in said
    assert not (tmp_path / "user").exists(), "nothing was checkpointed"
    assert await store.files(client.session_id or "") == []


async def test_another_host_has_the_files_from_the_store_alone(
    options: Options,
    store: SqliteStore,
    tmp_path: Path,
    scenario: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ScriptedModel(scenario) as model:
        client = SupervisedClient(options(model), store=store, policy=policy("restore"))
        await run(client, model.scenario.objective)
    monkeypatch.setenv("HOME", str(tmp_path / "other user"))
    there = tmp_path / "there"
    there.mkdir()
    supervision = Supervision(
        session_id=client.session_id or "",
        store=store,
        policy=policy("restore"),
        capabilities=lambda agent_id: frozenset(),
        act=lambda decision: None,
        tell=lambda event: None,
    )
    said = await FileKeeping(supervision, store, there, takes=True).on_resume()

    here = state(tmp_path / "work")
    assert state(there) == {name: held for name, held in here.items() if name != "secret.log"}
    assert '- Brought back: ".gitignore", "app.txt", "first.txt", "note.txt"' in said
