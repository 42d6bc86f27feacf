"""`Account`: what is counted of a session, and which of its failures are not cleared."""

from __future__ import annotations

from datetime import datetime

from supervisor.core.decision import Choice, Decision
from supervisor.core.entry import Entry
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.metrics import METRICS
from supervisor.store.interface import Incident

__all__ = ["Account", "Event"]

Event = Verdict | Decision | Outcome | Incident
"""What a session's observer is told, in the order it happens."""


class Account:
    """Of one session."""

    def __init__(self) -> None:
        self._unresolved: set[tuple[str | None, str]] = set()

    @property
    def unresolved(self) -> bool:
        """Whether a failure was found that no action is known to have cleared."""
        return bool(self._unresolved)

    def turn_began(self) -> None:
        """What interrupted the turn before is over."""
        self._unresolved.discard((None, FailureMode.INTERRUPTION))

    def entry(self, entry: Entry, now: datetime) -> None:
        """Count an entry that is the session's own."""
        METRICS.entries.labels(kind=entry.__struct_config__.tag).inc()
        METRICS.last_progress.set(now.timestamp())
        if entry.at is not None:
            METRICS.ingest_lag.observe(max(0.0, (now - entry.at).total_seconds()))

    def trouble(self, source: str) -> None:
        """Count an incident, which need not have been recorded."""
        kind, _, name = source.partition(":")
        if kind == "detector":
            METRICS.detector_errors.labels(detector=name).inc()
        METRICS.incidents.labels(source=kind).inc()

    def event(self, event: Event) -> None:
        """Count an event that is on record."""
        match event:
            case Verdict():
                METRICS.verdicts.labels(event.failure_mode, event.detector, event.severity).inc()
            case Decision():
                self._decision(event)
            case Outcome():
                self._outcome(event)

    def _decision(self, decision: Decision) -> None:
        METRICS.decisions.labels(decision.choice, decision.action or "").inc()
        verdict = decision.verdict
        stops = verdict.failure_mode is FailureMode.STOP
        if decision.choice is Choice.EXHAUSTED and not stops:
            self._unresolved.add((verdict.agent_id, verdict.failure_mode))

    def _outcome(self, outcome: Outcome) -> None:
        METRICS.outcomes.labels(outcome.failure_mode, outcome.action, outcome.status).inc()
        if outcome.failure_mode is FailureMode.STOP:
            return
        failure = (outcome.agent_id, outcome.failure_mode)
        if outcome.status is OutcomeStatus.CLEARED:
            self._unresolved.discard(failure)
        elif outcome.status is not OutcomeStatus.SUPERSEDED:
            self._unresolved.add(failure)
