"""`Account`: what is counted of a session, and which of its failures are not cleared."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import ClassVar

from supervisor.core.decision import Choice, Decision
from supervisor.core.entry import Entry
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.session import SessionState
from supervisor.core.verdict import FailureMode, Severity, Verdict
from supervisor.errors import LeaseLost, StoreError
from supervisor.metrics import METRICS
from supervisor.policy.engine import LIMITS
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.vitals import VitalSigns, Waste, window_of
from supervisor.store.interface import Incident

__all__ = ["Account", "Event", "Stopwatch", "store_asked"]

Event = Verdict | Decision | Outcome | Incident
"""What a session's observer is told, in the order it happens."""


_SAMPLE = 16
"""One entry in so many has its detectors timed, and stands for the others."""


class Account:
    """Of one session."""

    _begun_for: ClassVar[Policy | None] = None
    """The policy whose series were begun last: that of most sessions of a process."""

    def __init__(self) -> None:
        self.vitals = VitalSigns()
        """How it stands, for those who look at all sessions."""
        self._waste = Waste()
        self._unresolved: set[tuple[str | None, str]] = set()
        _begin_at_zero()

    @property
    def unresolved(self) -> bool:
        """Whether a failure was found that no action is known to have cleared."""
        return bool(self._unresolved)

    def decides_by(self, policy: Policy) -> None:
        """Have what the policy may do to be seen to rise from 0."""
        self.vitals.window = window_of(policy)
        if Account._begun_for is policy:
            return
        Account._begun_for = policy
        for rule, _, rung in policy.rungs():
            for mode in rule.on if rule is not None else (FailureMode.OVERRUN,):
                for action in (rung.action, *(other.action for other in rung.others)):
                    _stand_at_zero(mode, action, acts=policy.acts(rule))

    def began(self) -> None:
        """This process supervises the session from now on."""
        METRICS.live.add(self.vitals)
        METRICS.last_progress.set_to_current_time()

    def ended(self) -> None:
        """It does no more. Once more does no harm."""
        if METRICS.live.discard(self.vitals):
            METRICS.ended.labels(self.vitals.state).inc()

    def stands(self, state: SessionState) -> None:
        """It was concluded how the session stands."""
        self.vitals.stands(state)

    def turn_began(self) -> None:
        """What interrupted the turn before is over."""
        self._unresolved.discard((None, FailureMode.INTERRUPTION))

    def entry(self, entry: Entry, now: datetime) -> None:
        """Count an entry that is the session's own."""
        _entries(entry.__struct_config__.tag).inc()
        METRICS.last_progress.set(now.timestamp())
        self.vitals.entry(entry, now)
        if entry.at is not None:
            METRICS.ingest_lag.observe(max(0.0, (now - entry.at).total_seconds()))

    def took(self, seq: int, tokens: int, by_use: Mapping[str, int]) -> None:
        """Count the tokens that the agents took with this entry, by use; `tokens` are those
        of the session so far."""
        for use, count in by_use.items():
            _tokens(use).inc(count)
        if by_use:
            self._waste.took(seq, tokens, tokens - sum(by_use.values()))

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
                self._verdict(event)
            case Decision():
                self._decision(event)
            case Outcome():
                self._outcome(event)

    def _verdict(self, verdict: Verdict) -> None:
        METRICS.verdicts.labels(verdict.failure_mode, verdict.detector, verdict.severity).inc()
        if verdict.severity is not Severity.INFO and (wasted := self._waste.found(verdict)):
            METRICS.wasted_tokens.labels(verdict.failure_mode).inc(wasted)

    def _decision(self, decision: Decision) -> None:
        verdict = decision.verdict
        mode, action = verdict.failure_mode, decision.action or ""
        METRICS.decisions.labels(mode, decision.choice, action).inc()
        self.vitals.decided(decision)
        if decision.choice is Choice.ACT:
            METRICS.interventions.labels(mode, action).inc()
        stops = verdict.failure_mode is FailureMode.STOP
        if decision.choice is Choice.EXHAUSTED and not stops:
            self._unresolved.add((verdict.agent_id, verdict.failure_mode))

    def _outcome(self, outcome: Outcome) -> None:
        METRICS.outcomes.labels(outcome.failure_mode, outcome.action, outcome.status).inc()
        self.vitals.settled(outcome)
        if outcome.failure_mode is FailureMode.STOP:
            return
        failure = (outcome.agent_id, outcome.failure_mode)
        if outcome.status is OutcomeStatus.CLEARED:
            self._unresolved.discard(failure)
        elif outcome.status is not OutcomeStatus.SUPERSEDED:
            self._unresolved.add(failure)


class Stopwatch:
    """Tells Prometheus where the time of judging goes, by a sample: to measure each detector
    at each entry would take a sixth of that time itself."""

    def __init__(self) -> None:
        self._since = 0.0
        self._asked = 0
        self._spent = {
            name: METRICS.detector_seconds.labels(name).inc for name in registry.detectors()
        }

    def begin(self) -> bool:
        """The detectors are asked from now on; returns whether this time is measured."""
        self._asked += 1
        if self._asked % _SAMPLE:
            return False
        self._since = time.perf_counter()
        return True

    def lap(self, detector: str) -> None:
        """It has answered; the one behind it is asked from now on."""
        now = time.perf_counter()
        self._spent[detector]((now - self._since) * _SAMPLE)
        self._since = now


# To look a series up by its labels takes longer than to count.
_entries = cache(METRICS.entries.labels)
_tokens = cache(METRICS.tokens.labels)
_store_duration = cache(METRICS.store_duration.labels)


@contextmanager
def store_asked(operation: str) -> Iterator[None]:
    """Measure what is asked of the store, and count it where the store does not take it."""
    began = time.perf_counter()
    try:
        yield
    except LeaseLost:  # the store is there: another process has the session
        raise
    except StoreError:
        METRICS.store_errors.labels(operation).inc()
        raise
    _store_duration(operation).observe(time.perf_counter() - began)


def _stand_at_zero(mode: FailureMode, action: str, *, acts: bool) -> None:
    """An outcome may come sooner after its decision than the next scrape."""
    if not acts:
        METRICS.decisions.labels(mode, Choice.OBSERVE, action)
        return
    METRICS.interventions.labels(mode, action)
    METRICS.intervention_delay.labels(action)
    METRICS.action_tokens.labels(mode, action)
    for status in OutcomeStatus:
        METRICS.outcomes.labels(mode, action, status)


@cache
def _begin_at_zero() -> None:
    found = {name: kind.failure_modes() for name, kind in registry.detectors().items()}
    decided_on = {"diagnosis": {FailureMode.INTERRUPTION}, LIMITS: {FailureMode.OVERRUN}}
    METRICS.begin_at_zero({**found, **decided_on})
