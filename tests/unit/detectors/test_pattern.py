"""Checks that a policy writes as regular expressions."""

from __future__ import annotations

import time

import msgspec
import pytest
from pydantic import ValidationError

from detectors.pattern import Check, Pattern, PatternConfig, What
from supervisor.core.detector import Detector
from supervisor.core.entry import SYNTHETIC_MODEL, Entry, Text, Thinking, ToolCall, ToolResult
from supervisor.core.verdict import FailureMode
from supervisor.errors import PolicyError
from supervisor.policy.load import parse_policy
from supervisor.runtime.registry import actions, detectors
from supervisor.testing.fixtures import deep_size, verdicts_of, workload

RULES = "rules: [{name: obey, on: drift, ladder: [nudge]}]"


def watching(what: What, *expressions: str) -> Pattern:
    checks = tuple(
        Check(name=f"check {number}", what=what, expression=expression)
        for number, expression in enumerate(expressions)
    )
    return Pattern(PatternConfig(checks=checks))


def call(raw: bytes, tool: str = "Bash") -> ToolCall:
    place = {"session_id": "s", "transcript": "t", "seq": 1, "call_id": "c"}
    return ToolCall(**place, tool=tool, input=msgspec.Raw(raw))


def text(said: str, **more: str) -> Text:
    return Text(session_id="s", transcript="t", seq=1, text=said, **more)


def result(said: str) -> ToolResult:
    return ToolResult(session_id="s", transcript="t", seq=1, call_id="c", text=said)


def matched(detector: Detector, entry: Entry) -> list[object]:
    return [found.evidence.facts["matched"] for found in verdicts_of(detector, [entry])]


def test_it_is_off_without_checks() -> None:
    assert verdicts_of(Pattern(), workload(500)) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"command": 7}',
        b'{"command": null}',
        b"[]",
        b'{"command"',
        b'{"a": "\\"command\\""}',
    ],
)
def test_arguments_that_hold_no_command_are_quiet(raw: bytes) -> None:
    assert matched(watching(What.COMMANDS, "."), call(raw)) == []


def test_a_call_is_searched_with_its_tools_name() -> None:
    found = matched(
        watching(What.CALLS, r"^Edit .*secret\.env"), call(b'{"f":"secret.env"}', "Edit")
    )
    assert found == ['Edit {"f":"secret.env']


def test_what_the_agent_did_not_say_aloud_is_left_out() -> None:
    watch = watching(What.TEXT, "secret")
    thought = Thinking(session_id="s", transcript="t", seq=1, text="secret")

    assert matched(watch, thought) == []
    assert matched(watch, text("secret", model=SYNTHETIC_MODEL)) == []
    assert matched(watch, text("a secret")) == ["secret"]


def test_of_a_long_text_both_ends_are_searched() -> None:
    watch = watching(What.RESULTS, "needle")
    hay = "hay " * 5_000

    assert matched(watch, result("needle" + hay)) == ["needle"]
    assert matched(watch, result(hay + "needle")) == ["needle"]
    assert matched(watch, result(hay + "needle" + hay)) == []


@pytest.mark.parametrize("said", ["", "\ud83d", "\x00\x1b[31m", "漢字" * 30_000, "x" * 1_000_000])
def test_any_text_can_be_searched(said: str) -> None:
    (found,) = matched(watching(What.RESULTS, r"(?s)^.+"), result(said)) or ["nothing"]
    assert str(found).isprintable()


@pytest.mark.parametrize("expression", [r"(\w+\s*)+$", r"(a|a)*b", r".*a.*a.*a.*a!", r"(a*)*c"])
def test_no_text_can_stall_an_expression(expression: str) -> None:
    """With a backtracking engine, these take longer than anybody waits."""
    watch, began = watching(What.RESULTS, expression), time.perf_counter()
    verdicts_of(watch, [result("a" * 20_000 + "!"), result("a b " * 5_000 + "!")])

    assert time.perf_counter() - began < 1.0


def test_its_state_does_not_grow() -> None:
    watch = watching(What.RESULTS, "ok")
    before = deep_size(watch)
    assert len(verdicts_of(watch, workload(2_000))) > 100
    assert deep_size(watch) == before


def _faults(checks: str) -> str:
    policy = f"version: 1\ndetectors:\n  pattern:\n    checks: {checks}\n{RULES}"
    with pytest.raises(PolicyError) as raised:
        parse_policy(policy, "p.yaml", detectors=detectors(), actions=actions())
    return str(raised.value)


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ("{name: a, what: text, expression: '('}", "expression: is not an expression that RE2"),
        ("{name: a, what: text, expression: '(?=a)'}", "no look-around"),
        ("{name: a, what: text, expression: '(a{1000}){1000}'}", "invalid repetition"),
        ("{name: a, what: texts, expression: a}", "did you mean 'text'?"),
        ("{name: a, what: text, expresion: a}", "did you mean 'expression'?"),
        ("{name: a, what: text}", "checks[0].expression: is missing"),
        ("{name: a, what: text, expression: ''}", "must not be empty"),
        (
            "{name: a, what: text, expression: a, failure_mode: interruption}",
            "is for the runtime to see",
        ),
        ("{name: a, what: text, expression: a, confidence: 2}", "less than or equal to 1"),
        ("{name: a, what: text, expression: a}, {name: a, what: text, expression: b}", "unique"),
    ],
)
def test_a_faulty_check_is_a_fault_of_the_policy_at_its_place(check: str, fault: str) -> None:
    found = _faults(f"[{check}]")
    assert found.startswith("p.yaml:4:")
    assert fault in found


def test_a_rule_may_ask_for_its_verdicts_by_any_failure_mode() -> None:
    rule = "rules: [{name: obey, on: [stall, drift], detector: pattern, ladder: [nudge]}]"
    policy = parse_policy(f"version: 1\n{rule}", "p", detectors=detectors(), actions=actions())

    assert policy.rules[0].detector == "pattern"
    assert FailureMode.INTERRUPTION not in Pattern.failure_modes()


def test_a_configuration_survives_being_stored() -> None:
    config = watching(What.TEXT, "a").config
    assert PatternConfig.model_validate_json(config.model_dump_json()) == config


def test_a_program_gets_an_ordinary_error() -> None:
    with pytest.raises(ValidationError, match="not an expression"):
        Check(name="a", what=What.TEXT, expression="(")
