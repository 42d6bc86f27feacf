"""What a reply may ask of a request's context."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from supervisor.testing import Context
from supervisor.testing.conditions import When
from supervisor.testing.request import decode

TABLE = yaml.safe_load(
    (Path(__file__).parents[2] / "fixtures" / "scenarios" / "conditions.yaml").read_bytes()
)


def context_of(body: dict[str, object]) -> Context:
    return Context.of(decode(json.dumps({"model": "m", **body}).encode()))


@pytest.mark.parametrize("when", TABLE["holds"], ids=json.dumps)
def test_holds(when: dict[str, object]) -> None:
    assert When.model_validate(when).holds(context_of({"messages": TABLE["messages"]}))


@pytest.mark.parametrize("when", TABLE["fails"], ids=json.dumps)
def test_does_not_hold(when: dict[str, object]) -> None:
    assert not When.model_validate(when).holds(context_of({"messages": TABLE["messages"]}))


@pytest.mark.parametrize(
    "system",
    [
        "x-anthropic-billing-header: cc_version=2; cc_is_subagent=true;",
        [
            {"type": "text", "text": "A"},
            {"type": "text", "text": "You are an agent for Claude Code"},
        ],
    ],
)
def test_a_subagent_is_told_by_its_system_prompt(system: object) -> None:
    context = context_of({"system": system, "messages": [{"role": "user", "content": "hi"}]})

    assert context.agent == "subagent"


def test_a_compaction_is_told_by_its_newest_prompt_alone() -> None:
    asks = {"role": "user", "content": "Your task is to create a detailed summary of it all."}
    answered = {"role": "assistant", "content": "<summary/>"}

    assert context_of({"messages": [asks]}).request == "compaction"
    assert context_of({"messages": [asks, answered, asks | {"content": "Go on."}]}).request == (
        "ordinary"
    )


def test_a_result_without_its_call_names_no_tool() -> None:
    result = {"type": "tool_result", "tool_use_id": "gone", "content": "x"}

    context = context_of({"messages": [{"role": "user", "content": [result]}]})

    assert [(r.tool, r.text) for r in context.results] == [("", "x")]


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"model": "claude-(a|b)"}, True),
        ({"model": "claude"}, False),
        ({"effort": "max|high"}, True),
        ({"effort": "low"}, False),
        ({"characters": {"at_least": 7, "at_most": 7}}, True),
        ({"characters": {"at_most": 6}}, False),
    ],
)
def test_the_model_the_effort_and_the_length_can_be_asked_for(
    when: dict[str, object], holds: bool
) -> None:
    call = {"type": "tool_use", "id": "a", "name": "Bash", "input": {}}
    said = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": [call]}]
    request = {"model": "claude-a", "output_config": {"effort": "high"}, "messages": said}

    assert When.model_validate(when).holds(context_of(request)) is holds


def test_a_request_that_does_not_say_has_no_effort() -> None:
    assert context_of({"messages": [{"role": "user", "content": "Hi"}]}).effort == ""
