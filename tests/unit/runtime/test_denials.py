"""Which calls are denied, to whom, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from supervisor.core.action import Denial
from supervisor.core.decision import Choice, Decision
from supervisor.core.digest import fingerprint
from supervisor.core.intent import Intent
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.runtime.denials import Denials

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def decision(agent: str | None = None) -> Decision:
    verdict = Verdict(
        session_id="s",
        transcript="t",
        agent_id=agent,
        seq=1,
        onset_seq=1,
        detector="loop",
        failure_mode=FailureMode.LOOP,
        severity=Severity.WARNING,
        confidence=1.0,
        summary="again",
        evidence=Evidence(entries=(1,)),
    )
    return Decision(
        id="d", session_id="s", seq=1, at=NOW, verdict=verdict, choice=Choice.ACT, reason="-"
    )


def call(
    given: bytes = b'{"command":"ls"}', tool: str = "Bash", agent: str | None = None
) -> Intent:
    return Intent(
        session_id="s", call_id="c", tool=tool, input=msgspec.Raw(given), agent_id=agent, at=NOW
    )


EXACT = Denial(reason="no", fingerprints=frozenset({fingerprint("Bash", b'{"command": "ls"}')}))
EVERY = Denial(reason="never", tools=frozenset({"Bash"}))


class Course:
    """Denials whose outcome is open until told otherwise."""

    def __init__(self) -> None:
        self.pending = True
        self.met: list[str] = []
        self.denials = Denials(lambda decision: self.pending, self._note)

    def _note(self, decision: Decision, call_id: str) -> None:
        self.met.append(call_id)


@pytest.fixture
def course() -> Course:
    return Course()


def test_without_denials_everything_runs(course: Course) -> None:
    assert course.denials.reason(call()) is None


def test_only_the_exact_call_is_denied(course: Course) -> None:
    course.denials.add(decision(), EXACT)

    assert course.denials.reason(call()) == "no"
    assert course.denials.reason(call(b'{"command":"ls -l"}')) is None
    assert course.denials.reason(call(tool="Read")) is None


def test_every_call_of_a_tool_is_denied(course: Course) -> None:
    course.denials.add(decision(), EVERY)

    assert course.denials.reason(call(b"{}")) == "never"
    assert course.denials.reason(call(tool="Read")) is None


def test_agents_are_denied_their_own_calls(course: Course) -> None:
    course.denials.add(decision("a1"), EVERY)

    assert course.denials.reason(call()) is None
    assert course.denials.reason(call(agent="a1")) == "never"


def test_a_denial_holds_until_it_is_known_what_came_of_it(course: Course) -> None:
    course.denials.add(decision(), EXACT)
    course.pending = False

    assert course.denials.reason(call()) is None


def test_a_denial_for_so_many_calls_counts_all_of_them(course: Course) -> None:
    course.denials.add(decision(), msgspec.structs.replace(EXACT, calls=2))
    course.pending = False

    assert course.denials.reason(call(tool="Read")) is None
    assert course.denials.reason(call()) == "no"
    assert course.denials.reason(call()) is None


def test_a_denial_takes_effect_with_the_first_call_that_it_is_asked_about(course: Course) -> None:
    course.denials.add(decision(), EXACT)
    assert course.met == []

    course.denials.reason(call(tool="Read"))
    course.denials.reason(call())
    assert course.met == ["c"]
