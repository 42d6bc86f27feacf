"""`Rehearsal`: what a policy would decide in a session that goes as it went.

Nothing is done. Each action is taken to have shown at once, and to have changed nothing: the
agent goes on as its transcript has it, so a ladder climbs as it would with an agent that
heeds nobody. An action that ends the session ends the rehearsal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from supervisor.core.action import Capability
from supervisor.core.decision import Choice, Decision
from supervisor.core.entry import Entry, Origin, Prompt
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Verdict
from supervisor.policy.engine import decide
from supervisor.policy.history import History
from supervisor.policy.matching import matches
from supervisor.policy.model import Policy
from supervisor.policy.reach import RunMode, capabilities_for
from supervisor.policy.situation import Situation
from supervisor.runtime import registry
from supervisor.runtime.bearings import Bearings
from supervisor.runtime.judge import Judge, Judged
from supervisor.runtime.outcomes import Outcomes
from supervisor.store.interface import StoredEntry

__all__ = ["Rehearsal"]

Situated = Callable[[Verdict], Situation]

_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""Where a transcript has no times: every action is then at the same one."""


class Rehearsal:
    """One session under one policy. `decisions` are those of every verdict, in order."""

    def __init__(
        self,
        session_id: str,
        policy: Policy,
        *,
        mode: RunMode = RunMode.WRAPPER,
        labels: Mapping[str, str] | None = None,
        now: datetime = _NO_TIME,
    ) -> None:
        self.policy = policy
        self.now = now
        self.decisions: list[Decision] = []
        self.outcomes: list[Outcome] = []
        self.ended_by: Decision | None = None
        """The decision that ends the session; nothing is decided after it."""
        self.entries = 0
        self.left = 0
        """Entries behind the end, which would not have come to be."""
        self._mode = mode
        self._history = History()
        self._bearings = Bearings(session_id, labels)
        self._outcomes = Outcomes(self._concerns, self._history.record_effect)
        self._judge = Judge(session_id, registry.detectors(), policy.detectors, policy.risk)

    def take(self, stored: StoredEntry) -> None:
        """Judge the session's next entry and decide on what is found."""
        self.entries += 1
        if self.ended_by is not None:
            self.left += 1
            return
        judged = self._judge.observe(stored)
        self._follow(judged.entries)
        self._bearings.take(stored, judged.entries)
        self._decide_all(judged, self._bearings.at)
        spent = self._bearings.overspent(self.policy.limits, stored)
        self._decide_all(Judged((), tuple(spent)), self._bearings.at)

    def finish(self) -> None:
        """No entry follows. The agent is gone, so what is found now is not acted on."""
        self._mode = RunMode.AUDIT
        if self.ended_by is None:
            self._decide_all(self._judge.finish(), self._bearings.at)

    def _follow(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.at is not None:
                self.now = max(self.now, entry.at)
            if isinstance(entry, Prompt) and entry.origin is Origin.USER and not entry.inherited:
                self._record(self._outcomes.turn_ended(entry.seq, self.now))
            self._record(self._outcomes.observe(entry, self.now))

    def _decide_all(self, judged: Judged, situation: Situated) -> None:
        for verdict in judged.verdicts:
            if self.ended_by is None:
                self.decide(verdict, situation(verdict))

    def decide(self, verdict: Verdict, situation: Situation) -> Decision:
        """Decide on a verdict, at `now`, and take its action to have shown."""
        self._record(self._outcomes.judged(verdict, self.now))
        decision = decide(
            self.policy,
            verdict,
            self._history,
            self.now,
            actions=registry.actions(),
            capabilities=self.capabilities(verdict),
            situation=situation,
        )
        self.decisions.append(decision)
        self._bearings.decided(decision)
        self._history.record_decision(decision)
        if decision.choice is Choice.ACT:
            self._outcomes.opened(decision)
            self._outcomes.took_effect(decision, verdict.seq)
            if self._ends(decision):
                self.ended_by = decision
        return decision

    def capabilities(self, verdict: Verdict) -> frozenset[Capability]:
        """What can be done about a verdict."""
        return capabilities_for(verdict, self._mode)

    def settle(self, status: OutcomeStatus) -> None:
        """Have the last action turn out so."""
        acted = [one for one in self.decisions if one.choice is Choice.ACT]
        for decision in acted[-1:]:
            reason = "so it was told"
            self._record(
                self._outcomes.turned_out(decision, status, decision.seq, self.now, reason)
            )

    def _record(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self.outcomes.append(outcome)
            self._history.record_outcome(outcome)

    @staticmethod
    def _ends(decision: Decision) -> bool:
        action = registry.actions().get(decision.action or "")
        ends = {Capability.STOP, Capability.PAUSE}
        return action is not None and bool(action.needs & ends)

    def _concerns(self, decision: Decision, verdict: Verdict) -> bool:
        rules = (rule for rule in self.policy.rules if rule.name == decision.rule)
        return any(matches(rule, verdict) for rule in rules)
