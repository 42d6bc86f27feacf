"""The figures in four detectors' docstrings, on the corpora a public clone lacks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from detectors.context_bloat import ContextBloat
from detectors.hallucinated_tool import HallucinatedTool
from detectors.incoherence import Incoherence
from detectors.stall import Stall
from supervisor.core.detector import Detector
from supervisor.core.entry import Entry
from supervisor.core.verdict import Verdict
from supervisor.eval.corpora import traces
from supervisor.eval.trace import Trace

ACTED_ON = 0.8
KINDS: tuple[type[Detector], ...] = (HallucinatedTool, ContextBloat, Incoherence, Stall)
Found = list[tuple[Trace, list[Verdict]]]


@pytest.fixture(scope="module")
def found(corpora: Path) -> dict[str, Found]:
    """By detector, what is found in each trace."""
    read = [(trace, list(trace.entries())) for trace in traces(corpora)]
    return {
        kind.name: [(trace, _verdicts(kind, entries)) for trace, entries in read] for kind in KINDS
    }


def _verdicts(kind: type[Detector], entries: list[Entry]) -> list[Verdict]:
    agents: dict[str | None, Detector] = {}
    return [
        verdict
        for entry in entries
        for verdict in agents.setdefault(entry.agent_id, kind()).observe(entry)
    ]


def acted_on(verdicts: list[Verdict]) -> bool:
    return any(verdict.confidence >= ACTED_ON for verdict in verdicts)


def confusion(found: Found, failure: str) -> Counter[tuple[bool, bool]]:
    trail = [(trace, verdicts) for trace, verdicts in found if trace.dataset.startswith("trail")]
    return Counter((acted_on(verdicts), bool(trace.holds(failure))) for trace, verdicts in trail)


def test_no_healthy_session_would_meet_an_intervention(found: dict[str, Found]) -> None:
    flagged = {
        (name, trace.id)
        for name, rows in found.items()
        for trace, verdicts in rows
        if trace.healthy and acted_on(verdicts)
    }
    assert flagged == set()


@pytest.mark.parametrize(
    ("detector", "failure", "hits", "false"),
    [
        ("hallucinated_tool", "hallucinated_tool", 17, 18),
        ("hallucinated_tool", "tool_misuse", 16, 19),
        ("context_bloat", "context_loss", 5, 0),
    ],
)
def test_trail(found: dict[str, Found], detector: str, failure: str, hits: int, false: int) -> None:
    counted = confusion(found[detector], failure)
    assert (counted[True, True], counted[True, False]) == (hits, false)


@pytest.mark.parametrize(
    ("kind", "confidence", "count"),
    [
        ("invented_result", 0.9, 12),
        ("nothing_consulted", 0.8, 17),
        ("nothing_consulted", 0.5, 9),
        ("rejected_arguments", 0.85, 6),
    ],
)
def test_kinds_of_inventions(
    found: dict[str, Found], kind: str, confidence: float, count: int
) -> None:
    holding = [
        trace.id
        for trace, verdicts in found["hallucinated_tool"]
        if any(
            verdict.evidence.facts["kind"] == kind and verdict.confidence == confidence
            for verdict in verdicts
        )
    ]
    assert len(holding) == count


def test_only_made_up_texts_fall_apart(found: dict[str, Found]) -> None:
    falling = [trace for trace, verdicts in found["incoherence"] if verdicts]
    assert {trace.case is None for trace in falling} == {False}


def test_what_makes_no_progress(found: dict[str, Found]) -> None:
    stalled = Counter(trace.dataset for trace, verdicts in found["stall"] if verdicts)
    assert stalled == {"miniswe.jsonl.gz": 1, "mirage.jsonl.gz": 2, "loop-cases.json.gz": 6}
