"""How a finding becomes a verdict: shared by all detectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from supervisor.core.detector import Detector
from supervisor.core.entry import Entry
from supervisor.core.verdict import Evidence, Fact, Severity, Verdict

__all__ = ["Place", "place_of", "verdict"]

_EVIDENCE = 32
"""Entries that a verdict points at, the latest of them."""


class Place(NamedTuple):
    """Where an entry stands, without the entry, which may be large."""

    session_id: str
    transcript: str
    agent_id: str | None
    seq: int


def place_of(entry: Entry) -> Place:
    """Where `entry` stands."""
    return Place(entry.session_id, entry.transcript, entry.agent_id, entry.seq)


def verdict(
    detector: Detector,
    entry: Entry | Place,
    *,
    onset_seq: int,
    confidence: float,
    summary: str,
    entries: Iterable[int],
    facts: Mapping[str, Fact],
    key: str,
    severity: Severity = Severity.WARNING,
) -> Verdict:
    """The verdict of `detector` that `entry` completes; `entries` in any order."""
    return Verdict(
        session_id=entry.session_id,
        transcript=entry.transcript,
        agent_id=entry.agent_id,
        seq=entry.seq,
        onset_seq=onset_seq,
        detector=detector.name,
        failure_mode=detector.failure_mode,
        severity=severity,
        confidence=confidence,
        summary=summary,
        evidence=Evidence(entries=tuple(sorted(set(entries))[-_EVIDENCE:]), facts=facts),
        key=key,
    )
