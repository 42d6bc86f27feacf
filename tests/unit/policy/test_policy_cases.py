"""Tests of policies: how they are written, and that the shipped policies pass theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.core.decision import Choice
from supervisor.errors import PolicyError, TranscriptError
from supervisor.policy.cases import read_cases
from supervisor.policy.shipped import shipped_policies, shipped_policy, shipped_tests
from supervisor.runtime.casework import run_cases

FIXTURES = Path(__file__).parents[2] / "fixtures"
Write = Callable[[str], Path]
POLICY = """version: 1
rules:
  - {name: loops, on: loop, min_confidence: 0.8, ladder: [nudge, correct]}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "p.yaml").write_text(POLICY)

    def make(text: str) -> Path:
        path = tmp_path / "p.test.yaml"
        path.write_text(text)
        return path

    return make


@pytest.mark.parametrize("name", shipped_policies())
def test_every_shipped_policy_has_its_tests_and_passes_them(name: str) -> None:
    path = shipped_policy(name).with_suffix(".test.yaml")

    assert path in shipped_tests()
    assert run_cases(read_cases(path)) == []


def test_a_step_that_goes_otherwise_is_told_with_its_place(write: Write) -> None:
    path = write(
        """tests:
  - name: a loop
    steps:
      - {verdict: loop, expect: nudge}
      - {outcome: failed}
      - {verdict: loop, expect: {action: abort, rung: 3}}
"""
    )

    [failure] = run_cases(read_cases(path))

    assert failure.place == f"{path}:6:9"
    assert failure.case == "a loop"
    assert failure.reason == (
        "expected action abort, rung 3, got act correct by 'loops', rung 2 at entry 20: "
        "nudge did not help: correct, rung 2 of 2"
    )


def test_the_policy_beside_it_is_tested_unless_another_is_named(write: Write) -> None:
    steps = "tests:\n  - {name: a, steps: [{verdict: loop, expect: nudge}]}\n"

    assert read_cases(write(steps)).policy == write(steps).with_name("p.yaml")
    assert read_cases(write("policy: default\n" + steps)).policy == "default"


def test_a_transcript_is_judged_and_its_actions_compared(write: Write, tmp_path: Path) -> None:
    source = FIXTURES / "detectors" / "loop" / "fires-failing-call.jsonl"
    (tmp_path / "t.jsonl").write_bytes(source.read_bytes())
    text = "tests:\n  - {name: a, transcript: t.jsonl, expect: [nudge]}\n"

    assert run_cases(read_cases(write(text))) == []
    [missing] = run_cases(read_cases(write(text.replace("[nudge]", "[]"))))
    assert missing.reason.startswith("did not expect act nudge by 'loops', rung 1 at entry ")
    with pytest.raises(TranscriptError, match="there is no transcript"):
        run_cases(read_cases(write(text.replace("t.jsonl", "u.jsonl"))))


BROKEN = """tests:
  - name: a
    start: 2026-01-05 12:00:00
    steps:
      - {verdict: lop, expect: nudge}
      - {verdict: loop}
      - {outcome: faild}
      - {at: soon, verdict: loop, expect: nudge}
      - {verdict: loop, outcome: failed, expect: nudge}
  - name: b
    transcript: t.jsonl
  - name: c
    stepps: []
"""


def test_every_fault_of_a_test_file_is_told_with_its_place(write: Write) -> None:
    path = write(BROKEN)

    with pytest.raises(PolicyError) as raised:
        read_cases(path)

    said = [str(problem).removeprefix(str(path)) for problem in raised.value.problems]
    assert [line.split(": ")[1] for line in said] == [
        "tests[0].start",
        "tests[0].steps[0].verdict",
        "tests[0].steps[1].expect",
        "tests[0].steps[2].outcome",
        "tests[0].steps[3].at",
        "tests[0].steps[4]",
        "tests[1]",
        "tests[2].stepps",
    ]
    assert said[0].startswith(":3:12: ")
    assert "must say its time zone" in said[0]


def test_expectations_may_be_a_word(write: Write) -> None:
    path = write(
        "tests:\n  - name: a\n    steps:\n"
        "      - {verdict: {mode: loop, confidence: 0.1}, expect: no_rule}\n"
    )
    cases = read_cases(path)
    expected = cases.cases[0].steps[0].expect

    assert expected is not None
    assert (expected.choice, expected.action) == (Choice.NO_RULE, None)
    assert run_cases(cases) == []
