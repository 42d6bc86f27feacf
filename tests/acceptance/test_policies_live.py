"""What a policy may ask for, and a policy that changes, with the real SDK, CLI and store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from claude_agent_sdk import ClaudeAgentOptions

from supervisor import SupervisedClient
from supervisor.core.decision import Choice, Decision
from supervisor.core.session import SessionState
from supervisor.runtime import reload
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import ScriptedModel

pytestmark = pytest.mark.anyio

Options = Callable[..., ClaudeAgentOptions]
LABELLED = """version: 1
mode: {mode}
rules:
  - {{name: theirs, on: loop, labels: {{team: web}}, ladder: [abort]}}
  - {{name: ours, on: loop, labels: {{team: pay*}}, ladder: [nudge, rollback, correct]}}
  - {{name: tools, on: hallucinated_tool, ladder: [correct]}}
"""


async def finish(client: SupervisedClient, model: ScriptedModel) -> None:
    await client.query(model.scenario.objective or "")
    async for _ in client.receive_response():
        pass


def acted(decisions: list[Decision]) -> list[tuple[str | None, str | None]]:
    return [(one.rule, one.action) for one in decisions if one.choice is Choice.ACT]


async def test_a_policy_file_that_changes_is_in_use_and_a_faulty_one_is_not(
    options: Options,
    store: SqliteStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reload, "EVERY_SECONDS", 0.05)
    policy = tmp_path / "p.yaml"
    policy.write_text(LABELLED.format(mode="observe"))

    async def mode_on_record() -> str:
        row = await store.session(client.session_id or "")
        return str(json.loads(row.policy or "{}")["mode"])

    async with ScriptedModel("stuck-then-phantom") as model:
        client = SupervisedClient(
            options(model), policy=policy, store=store, labels={"team": "payments"}
        )
        async with client:
            policy.write_text("version: 1\nmode: act\nrules: none\n")
            async with asyncio.timeout(10):
                while not await store.incidents(client.session_id or ""):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.02)
            assert await mode_on_record() == "observe"
            policy.write_text(LABELLED.format(mode="act"))
            async with asyncio.timeout(10):
                while await mode_on_record() != "act":  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.02)
            await finish(client, model)
        assert client.session_id is not None

    [incident] = await store.incidents(client.session_id)
    assert incident.source == "policy"
    assert "rules: must be a list, not 'none'" in incident.message
    decisions = await store.decisions(client.session_id)
    assert acted(decisions) == [("ours", "nudge"), ("ours", "rollback"), ("tools", "correct")]


async def test_a_session_that_spends_its_tokens_is_ended_before_any_verdict(
    options: Options, store: SqliteStore, tmp_path: Path
) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text("version: 1\ninclude: default\nlimits: {tokens: {max: 50, then: abort}}\n")
    async with ScriptedModel("steady-work") as model:
        client = SupervisedClient(options(model), policy=policy, store=store)
        async with client:
            await finish(client, model)
            assert client.state[0] is SessionState.ABORTED

    [decision] = await store.decisions(client.session_id or "")
    assert (decision.limit, decision.action) == ("tokens", "abort")
    assert len(model.requests) < 10
