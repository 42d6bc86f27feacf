"""`Situation`: what `decide` is told of a session besides its verdict and its history."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from supervisor.core.outcome import Outcome, OutcomeStatus

__all__ = ["NOWHERE", "Record", "Situation", "record_of"]

Record = Mapping[tuple[str, str], tuple[int, int]]
"""By failure mode and action: how often the action helped, and how often it did not."""


class Situation(NamedTuple):
    """Where a verdict was found: whose session it is, and what it took so far."""

    labels: Mapping[str, str] = MappingProxyType({})
    agent_type: str | None = None
    """Of the subagent that the verdict is on."""
    cost_usd: float = 0.0
    """What the session cost so far, as far as its runtime has told."""
    tokens: int = 0
    """Read and written in it so far, by all agents."""
    record: Record = MappingProxyType({})
    """How actions turned out before, in whichever sessions the caller counts."""
    gone: bool = False
    """Whether the subagent that the verdict is on was stopped: the verdict comes late."""


NOWHERE = Situation()
"""A session of which nothing is known."""


def record_of(outcomes: list[Outcome]) -> dict[tuple[str, str], tuple[int, int]]:
    """The record that these outcomes make. A relapse takes back what was counted as cleared;
    what was superseded says nothing."""
    last: dict[str, Outcome] = {}
    for outcome in outcomes:
        last[outcome.decision_id] = outcome
    record: dict[tuple[str, str], tuple[int, int]] = {}
    for outcome in last.values():
        if outcome.status is OutcomeStatus.SUPERSEDED:
            continue
        key = (str(outcome.failure_mode), outcome.action)
        helped, failed = record.get(key, (0, 0))
        cleared = outcome.status is OutcomeStatus.CLEARED
        record[key] = (helped + cleared, failed + (not cleared))
    return record
