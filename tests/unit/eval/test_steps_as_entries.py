"""What a normalised trace leaves out is filled in as a live session would have had it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec

from supervisor.core.entry import (
    Compaction,
    Entry,
    Notice,
    Origin,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
)
from supervisor.eval.cases import CaseStep, case_batches
from supervisor.eval.steps import Step, batches


def entries(
    *steps: dict[str, object], tools: list[str] | None = None, objective: str | None = None
) -> list[Entry]:
    typed = msgspec.json.decode(json.dumps(steps), type=list[Step])
    return [entry for batch in batches("t", typed, tools, objective) for entry in batch]


def case(*steps: dict[str, object]) -> list[Entry]:
    typed = msgspec.json.decode(json.dumps(steps), type=list[CaseStep])
    return [entry for batch in case_batches("c", typed) for entry in batch]


def said(text: str, **fields: object) -> dict[str, object]:
    return {"role": "assistant", "text": text, **fields}


def called(tool: str, **fields: object) -> dict[str, object]:
    return {"role": "assistant", "text": "", "tool": tool, "input": {}, **fields}


def returned(text: str, tool: str | None = None, **fields: object) -> dict[str, object]:
    return {"role": "tool", "text": text, "tool": tool, **fields}


def asked(text: str, **fields: object) -> dict[str, object]:
    return {"role": "user", "text": text, **fields}


def pairs(found: list[Entry]) -> list[tuple[str, str]]:
    """The tool and the result's text of each answered call."""
    tools = {entry.call_id: entry.tool for entry in found if isinstance(entry, ToolCall)}
    return [(tools[e.call_id], e.text) for e in found if isinstance(e, ToolResult)]


def test_tools_and_objective_stand_before_the_first_step() -> None:
    first, second, third = entries(said("Hello."), tools=["search"], objective="Greet.")
    assert isinstance(first, Notice)
    assert first.tools_added == ("search",)
    assert isinstance(second, Prompt)
    assert (second.text, second.origin, second.turn) == ("Greet.", Origin.USER, 1)
    assert isinstance(third, Text)
    assert [(entry.seq, entry.part) for entry in (first, second, third)] == [(1, 0), (1, 1), (1, 2)]


def test_an_objective_that_was_prompted_is_not_said_twice() -> None:
    found = entries({"role": "system", "text": "Be kind."}, asked("Greet."), objective="Greet.")
    assert [(type(entry), entry.seq) for entry in found] == [(Prompt, 1), (Prompt, 2)]
    assert [entry.origin for entry in found if isinstance(entry, Prompt)] == ["meta", "user"]


def test_text_and_call_of_a_step_are_one_message() -> None:
    text, call = entries(called("ls", text="I look.", tokens=["12", 3], model="m"))[:2]
    assert isinstance(text, Text)
    assert isinstance(call, ToolCall)
    assert text.message_id == call.message_id
    assert text.usage is not None
    assert (text.usage.input_tokens, text.usage.output_tokens) == (12, 3)


def test_a_result_goes_to_the_call_of_its_agent_and_tool() -> None:
    found = entries(
        asked("Go.", agent="main"),
        called("python", agent="main"),
        asked("Search.", agent="helper"),
        called("search", agent="helper"),
        returned("found", "search", agent="helper"),
        returned("ran", "python", agent="main"),
    )
    assert pairs(found) == [("search", "found"), ("python", "ran")]
    assert [e.origin for e in found if isinstance(e, Prompt)] == [Origin.USER, Origin.AGENT]
    assert {entry.agent_id for entry in found} == {None, "helper"}


def test_an_answer_by_somebody_who_never_speaks_is_the_calls() -> None:
    found = entries(
        called("code", agent="agent"),
        said("import os", agent="writer"),
        returned("done", "code", agent="tools"),
    )
    assert pairs(found) == [("code", "done")]
    assert {entry.agent_id for entry in found} == {None}


def test_what_the_environment_says_after_a_call_is_its_result() -> None:
    found = entries(asked("Click it."), called("click"), asked("the page now"))
    assert pairs(found) == [("click", "the page now")]


def test_a_call_without_a_recorded_result_is_answered_with_nothing() -> None:
    found = entries(asked("Click it."), called("click"), called("click"), said("Done."))
    assert pairs(found) == [("click", ""), ("click", "")]


def test_the_last_call_stays_open() -> None:
    assert pairs(entries(asked("Click it."), called("click"))) == []


def test_a_result_without_a_call_has_one_from_the_code_before_it() -> None:
    found = entries(said("Try:\n```python\nprint(1)\n```\n"), returned("1", "terminal"))
    (call,) = [entry for entry in found if isinstance(entry, ToolCall)]
    assert msgspec.json.decode(call.input) == {"code": "print(1)\n"}
    assert pairs(found) == [("terminal", "1")]


def test_arguments_that_are_no_object_are_left_out() -> None:
    (call, *_) = entries(called("run", input=[1]), said("x"))
    assert isinstance(call, ToolCall)
    assert bytes(call.input) == b"{}"


def test_environments_in_the_users_place_are_not_the_user() -> None:
    found = entries(asked("Go."), said("<call>"), asked("API output: 3"), asked("Thanks."))
    assert [e.origin for e in found if isinstance(e, Prompt)] == ["user", "meta", "user"]


def test_time_never_runs_back_and_odd_times_are_passed_over() -> None:
    found = entries(
        asked("Go.", ts="2026-01-01T00:00:10Z"),
        said("a", ts="2026-01-01T00:00:05"),
        said("b", ts="yesterday"),
        said("c", ts="2026-01-01T00:00:20+00:00"),
    )
    at = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)
    assert [entry.at for entry in found] == [at, at, at, at.replace(second=20)]


def test_an_empty_step_is_a_notice() -> None:
    assert [type(entry) for entry in entries(asked("Go."), said(""))] == [Prompt, Notice]


def test_a_case_is_read_as_a_session() -> None:
    found = case(
        {"kind": "user", "text": "go"},
        {"kind": "thinking", "text": "hm"},
        {"kind": "assistant_text", "text": "ok"},
        {"kind": "tool_call", "tool": "run", "input": {}, "id": "c1", "turn": 7},
        {"kind": "tool_call", "tool": "look", "input": {}, "turn": 7},
        {"kind": "tool_result", "text": "ran", "is_error": True, "id": "c1"},
        {"kind": "tool_result", "text": "looked", "is_error": False},
        {"kind": "hum"},
    )
    kinds = [Prompt, Thinking, Text, ToolCall, ToolCall, ToolResult, ToolResult, Unknown]
    assert [type(entry) for entry in found] == kinds
    assert pairs(found) == [("run", "ran"), ("look", "looked")]
    calls = [entry for entry in found if isinstance(entry, ToolCall)]
    assert calls[0].message_id == calls[1].message_id == "t7"
    assert {entry.turn for entry in found} == {1}


def test_a_compaction_in_a_case_replaces_no_result_and_types_no_prompt() -> None:
    found = case(
        {"kind": "tool_call", "tool": "run", "input": {}, "id": "c"},
        {"kind": "tool_result", "text": "cut", "original_text": "all", "id": "c"},
        {"kind": "user", "text": "so far", "subtype": "compaction"},
        {"kind": "user", "text": "the plan", "subtype": "reinjected"},
    )
    assert pairs(found) == [("run", "all")]
    assert [type(entry) for entry in found[2:]] == [Compaction, Prompt, Prompt]
    origins = [entry.origin for entry in found if isinstance(entry, Prompt)]
    assert origins == [Origin.COMPACTION, Origin.META]
