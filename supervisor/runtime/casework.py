"""Runs the tests of a policy: rehearses each session and compares what is decided."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from supervisor.core.action import Capability
from supervisor.core.decision import Choice, Decision
from supervisor.core.verdict import Evidence, Verdict
from supervisor.errors import TranscriptError
from supervisor.ingest.lines import Line, read_finished
from supervisor.policy.cases import Case, CaseFile, Expected, Found
from supervisor.policy.load import load_policy
from supervisor.policy.model import Policy
from supervisor.policy.situation import Situation
from supervisor.runtime import registry
from supervisor.runtime.rehearsal import Rehearsal
from supervisor.store.interface import StoredEntry

__all__ = ["Failure", "run_cases"]

_STEP = 10
"""Entries from one verdict to the next, where a test does not say."""


class Failure(NamedTuple):
    """A decision that is not as expected."""

    place: str
    case: str
    reason: str


class _Rehearsal(Rehearsal):
    """With the capabilities that the test says."""

    can: frozenset[Capability] | None = None

    def capabilities(self, verdict: Verdict) -> frozenset[Capability]:
        return super().capabilities(verdict) if self.can is None else self.can


def run_cases(file: CaseFile) -> list[Failure]:
    """Run every test of a file; returns what failed. Raises `PolicyError` where the policy
    has faults, and `TranscriptError` where a transcript cannot be read."""
    policy = load_policy(file.policy, detectors=registry.detectors(), actions=registry.actions())
    return [
        failure
        for number, case in enumerate(file.cases)
        for failure in _run(file, number, case, policy)
    ]


def _run(file: CaseFile, number: int, case: Case, policy: Policy) -> Iterator[Failure]:
    rehearsal = _Rehearsal("test", policy, mode=case.run_mode, labels=case.labels, now=case.start)
    rehearsal.can = None if case.can is None else frozenset(case.can)
    if case.transcript is not None:
        yield from _run_transcript(file, number, case, rehearsal)
    else:
        yield from _run_steps(file, number, case, rehearsal)


def _run_steps(file: CaseFile, number: int, case: Case, rehearsal: Rehearsal) -> Iterator[Failure]:
    seq = 0
    situation = Situation(labels=case.labels)
    for index, step in enumerate(case.steps):
        if step.at is not None:
            rehearsal.now = case.start + step.at
        if step.cost_usd is not None:
            situation = situation._replace(cost_usd=step.cost_usd)
        if step.tokens is not None:
            situation = situation._replace(tokens=step.tokens)
        if step.outcome is not None:
            rehearsal.settle(step.outcome)
        if step.verdict is None or step.expect is None:
            continue
        seq = step.entry if step.entry is not None else seq + _STEP
        there = situation._replace(agent_type=step.verdict.agent_type)
        decision = rehearsal.decide(_verdict(step.verdict, seq), there)
        if (said := _differs(step.expect, decision)) is not None:
            yield Failure(file.place(number, index), case.name, said)


def _verdict(found: Found, seq: int) -> Verdict:
    return Verdict(
        session_id="test",
        transcript="test",
        agent_id=found.agent,
        seq=seq,
        onset_seq=max(1, seq - 1),
        detector=found.detector or found.mode,
        failure_mode=found.mode,
        severity=found.severity,
        confidence=found.confidence,
        summary="for the test",
        evidence=Evidence(entries=(seq,)),
        key=found.key,
    )


def _run_transcript(
    file: CaseFile, number: int, case: Case, rehearsal: Rehearsal
) -> Iterator[Failure]:
    assert case.transcript is not None
    for stored in _entries(file.path.parent / case.transcript):
        rehearsal.take(stored)
    rehearsal.finish()
    done = [one for one in rehearsal.decisions if one.choice in (Choice.ACT, Choice.OBSERVE)]
    expected = case.expect or ()
    for index, wanted in enumerate(expected):
        if index >= len(done):
            said = f"expected {_told(wanted)}, and nothing more is done"
            yield Failure(file.place(number, index), case.name, said)
        elif (differs := _differs(wanted, done[index])) is not None:
            yield Failure(file.place(number, index), case.name, differs)
    for decision in done[len(expected) :]:
        yield Failure(file.place(number), case.name, f"did not expect {_shown(decision)}")


def _entries(path: Path) -> Iterator[StoredEntry]:
    if not path.is_file():
        raise TranscriptError(f"there is no transcript {path}")
    lines = (line for line in read_finished(path) if isinstance(line, Line))
    for seq, line in enumerate(lines, 1):
        yield StoredEntry(session_id="test", seq=seq, transcript=path.stem, raw=line.raw)


def _differs(expected: Expected, decision: Decision) -> str | None:
    """What is not as expected; None where all is."""
    wrong = [
        (wanted, found)
        for wanted, found in (
            (expected.choice, decision.choice),
            (expected.action, decision.action),
            (expected.rule, decision.rule),
            (expected.rung, None if decision.rung is None else decision.rung + 1),
            (expected.attempt, decision.attempt),
            (expected.limit, decision.limit),
            (expected.entry, decision.seq),
        )
        if wanted is not None and wanted != found
    ]
    params = {name: decision.params.get(name) for name in expected.params}
    said = expected.reason is None or expected.reason in decision.reason
    if not wrong and params == expected.params and said:
        return None
    return f"expected {_told(expected)}, got {_shown(decision)}"


def _told(expected: Expected) -> str:
    given = expected.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{name} {value}" for name, value in given.items()) or "a decision"


def _shown(decision: Decision) -> str:
    what = f"{decision.choice} {decision.action or ''}".strip()
    rung = "" if decision.rung is None else f", rung {decision.rung + 1}"
    rule = "" if decision.rule is None else f" by {decision.rule!r}{rung}"
    return f"{what}{rule} at entry {decision.seq}: {decision.reason}"
