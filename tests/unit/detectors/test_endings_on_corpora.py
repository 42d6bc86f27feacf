"""The figures in the docstrings of `detectors.drift`, `detectors.false_completion` and
`detectors.premature_end`, on the corpora a public clone lacks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from detectors.drift import Drift, DriftConfig
from detectors.drift.activity import Activity, PageHinkley
from detectors.false_completion import FalseCompletion
from detectors.premature_end import PrematureEnd
from supervisor.core.detector import Detector
from supervisor.core.entry import Origin, Prompt, ToolCall
from supervisor.core.verdict import Verdict
from supervisor.eval.corpora import traces
from supervisor.eval.trace import Outcome, Trace

ACTED_ON = 0.8
BUSYWORK = {"AskUserQuestion", "TaskCreate", "TaskUpdate", "TodoWrite"}
SPLICED = {"claude": 31, "miniswe.jsonl.gz": 140}
KINDS: tuple[type[Detector], ...] = (Drift, FalseCompletion, PrematureEnd)


class Turn(NamedTuple):
    """What a user asked for, and the calls made for it."""

    dataset: str
    id: str
    objective: str
    calls: list[bytes]


def verdicts(kind: type[Detector], trace: Trace) -> Iterator[Verdict]:
    detectors: dict[str | None, Detector] = {}
    for entry in trace.entries():
        detector = detectors.setdefault(entry.agent_id, kind())
        yield from detector.observe(entry)
    for detector in detectors.values():
        yield from detector.finish()


def patterns(kind: type[Detector], trace: Trace, at_least: float = 0.0) -> set[str]:
    found = (verdict for verdict in verdicts(kind, trace) if verdict.confidence >= at_least)
    return {str(verdict.evidence.facts["pattern"]) for verdict in found}


def test_drift_on_trail(corpora: Path) -> None:
    table = Counter(
        (trace.holds("drift"), bool(patterns(Drift, trace, ACTED_ON)))
        for trace in traces(corpora / "trail.jsonl.gz")
    )
    assert table == {(True, True): 31, (True, False): 6, (False, True): 7, (False, False): 33}


def test_drift_points_at_the_step_labelled(corpora: Path) -> None:
    places = [
        (labelled, {Trace.step_of(verdict.onset_seq) for verdict in verdicts(Drift, trace)})
        for trace in traces(corpora / "trail.jsonl.gz")
        if (labelled := {label.step for label in trace.labels if label.failure == "drift"})
    ]
    assert sum(bool(labelled & found) for labelled, found in places) == 23


def test_drift_misses_what_agentrx_calls_so(corpora: Path) -> None:
    drifted = [one for one in traces(corpora / "agentrx.jsonl.gz") if one.holds("drift")]
    assert len(drifted) == 12
    assert [one.id for one in drifted if patterns(Drift, one)] == []


def test_healthy_sessions(corpora: Path) -> None:
    names = ("claude", "miniswe.jsonl.gz", "taubench.jsonl.gz")
    sessions = [
        one
        for one in traces(*(corpora / name for name in names))
        if one.dataset == "claude" or one.outcome is Outcome.SUCCESS
    ]
    assert Counter(one.dataset for one in sessions) == dict(zip(names, (153, 184, 46), strict=True))

    found = [
        (one.id[:10], str(verdict.evidence.facts["pattern"]), verdict.confidence >= ACTED_ON)
        for one in sessions
        for kind in KINDS
        for verdict in verdicts(kind, one)
    ]
    # It claims that the failing test passes now, and has read two files.
    assert {one[:2] for one in found if one[2]} == {("claude/029", "tests never run")}
    recorded = Counter(pattern for _, pattern, acted_on in found if not acted_on)
    assert recorded == {"subject changed": 8, "open to-dos": 3}


def test_changes_of_subject_that_are_spliced_in(corpora: Path) -> None:
    """The calls of one turn, then up to forty of another session's, unasked."""
    everything = list(_turns(corpora))
    turns = [turn for turn in everything if len(turn.calls) >= 16]
    quiet = [turn.dataset for turn in turns if _changed_at(turn.objective, turn.calls) is None]
    assert Counter(turn.dataset for turn in turns) == {"claude": 81, "miniswe.jsonl.gz": 183}
    assert Counter(quiet) == {"claude": 80, "miniswe.jsonl.gz": 178}

    rng, found, delays = random.Random(1), Counter[str](), []
    for turn in [turn for turn in turns if len(turn.calls) >= 24]:
        others = [one for one in turns if one.dataset == turn.dataset and one.id != turn.id]
        kept = 20 + rng.randrange(max(1, len(turn.calls) // 2 - 19))
        spliced = [*turn.calls[:kept], *(rng.choice(others).calls * 3)[:40]]
        at = _changed_at(turn.objective, spliced)
        if at is not None and at > kept:
            found[turn.dataset] += 1
            delays.append(at - kept)
    assert sum(len(turn.calls) >= 24 for turn in turns) == 201
    assert found == SPLICED
    assert median(delays) == 22


def _turns(corpora: Path) -> Iterator[Turn]:
    for trace in traces(corpora / "claude", corpora / "miniswe.jsonl.gz"):
        if trace.dataset != "claude" and trace.outcome is not Outcome.SUCCESS:
            continue
        turn: Turn | None = None
        for entry in trace.entries():
            if entry.agent_id is not None:
                continue
            if isinstance(entry, Prompt) and entry.origin is Origin.USER:
                turn = Turn(trace.dataset, trace.id, entry.text, [])
                yield turn
            elif isinstance(entry, ToolCall) and turn is not None and entry.tool not in BUSYWORK:
                turn.calls.append(bytes(entry.input)[:1_000])


def _changed_at(objective: str, calls: list[bytes]) -> int | None:
    activity, test = Activity(objective), PageHinkley(DriftConfig().subject_threshold)
    for number, call in enumerate(calls, 1):
        distance = activity.add(call)
        if distance is not None and test.add(distance):
            return number
    return None


def test_promises(corpora: Path) -> None:
    stopped = [
        one
        for one in traces(corpora / "bioagent.jsonl.gz")
        if any(label.failure == "premature_end" for label in one.labels)
    ]
    assert [patterns(PrematureEnd, one, ACTED_ON) for one in stopped] == [{"promise"}]
