"""A suspicion, a judge's word on it, and what is done: the real SDK, CLI and `anthropic`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from claude_agent_sdk import ClaudeAgentOptions

from supervisor import supervised_query
from supervisor.core.decision import Choice
from supervisor.core.session import SessionState
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import ScriptedModel

pytestmark = pytest.mark.anyio

POLICY = """
version: 1
judge: {model: claude-judge, per_session: {calls: 1}}
detectors:
  pattern:
    checks:
      - {name: deploys, what: commands, expression: '\\bdeploy\\b', confidence: 0.3}
rules:
  - name: keep to the task
    on: drift
    min_confidence: 0.8
    ladder: [nudge]
"""


async def test_a_suspicion_is_acted_on_once_a_judge_confirms_it(
    options: Callable[..., ClaudeAgentOptions],
    store: SqliteStore,
    fixtures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    scenarios = fixtures / "scenarios"
    async with (
        ScriptedModel(scenarios / "deploys.yaml") as agent,
        ScriptedModel(scenarios / "judge.yaml") as judge,
    ):
        monkeypatch.setenv("ANTHROPIC_BASE_URL", judge.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "scripted-model")
        prompt = agent.scenario.objective or ""
        stream = supervised_query(prompt=prompt, options=options(agent), policy=policy, store=store)
        _ = [message async for message in stream]

    (session,) = await store.sessions()
    verdicts = await store.verdicts(session.session_id)
    decisions = await store.decisions(session.session_id)
    acted = [decision for decision in decisions if decision.choice is Choice.ACT]
    assert {verdict.detector for verdict in verdicts} == {"pattern", "judge"}
    assert [(decision.action, decision.verdict.detector) for decision in acted] == [
        ("nudge", "judge")
    ]
    assert [record.reply for record in judge.requests] == ["says yes"]
    assert agent.requests[-1].reply == "stops"
    assert session.state is SessionState.REACHED
    assert (agent.unmatched, agent.refused, judge.refused) == ([], [], [])
