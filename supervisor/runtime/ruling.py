"""`Ruling`: from a session's verdicts to decisions, their actions, and what these led to.

A decision is on record before its action starts, an outcome before it moves a ladder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from supervisor.core.action import ActionResult, Capability
from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.metrics import METRICS
from supervisor.policy.engine import decide, matches, ordered
from supervisor.policy.history import History
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.account import Event
from supervisor.runtime.bearings import Bearings
from supervisor.runtime.journal import Journal
from supervisor.runtime.outcomes import Outcomes
from supervisor.runtime.stops import Stops

__all__ = ["LEFT_OPEN", "Ruling"]

LEFT_OPEN = "the process ended before it could be judged"
"""Why an action of a former worker has no outcome that says more: it may have been carried
out."""


_DECIDED_ELSEWHERE = frozenset({FailureMode.INTERRUPTION, FailureMode.STOP})
"""Failures of which whoever asked for the decision asks for the next one, too."""


class Ruling:
    """One session's. What is awaited here is for one task at a time."""

    def __init__(
        self,
        policy: Policy,
        journal: Journal,
        bearings: Bearings,
        stops: Stops,
        *,
        capabilities: Callable[[str | None], frozenset[Capability]],
        decided: Callable[[Decision], None],
        now: Callable[[], datetime],
        hand_over: str = "",
    ) -> None:
        """`capabilities(agent_id)` says what can be done to an agent; `decided` hears of each
        decision once it is on record, and returns at once. `hand_over` is the command by which
        the session goes on where everything can be done, if that is not here."""
        self.policy = policy
        self.history = History()
        self.outcomes = Outcomes(self._concerns, self._took_effect)
        self.capabilities = capabilities
        self._journal = journal
        self._bearings = bearings
        self._stops = stops
        self._decided = decided
        self._now = now
        self._hand_over = hand_over
        self._results: dict[str, asyncio.Future[ActionResult]] = {}

    def remember(
        self, decisions: Iterable[Decision], outcomes: Iterable[Outcome]
    ) -> Iterable[Decision]:
        """Take what a former worker decided, and what it led to; returns the decisions whose
        action has no outcome."""
        acted: dict[str, Decision] = {}
        for decision in decisions:
            self.history.record_decision(decision)
            self._bearings.decided(decision)
            if decision.choice is Choice.ACT:
                acted[decision.id] = decision
        for outcome in outcomes:
            self.history.record_outcome(outcome)
            acted.pop(outcome.decision_id, None)
            if outcome.failure_mode is FailureMode.STOP:
                self._stops.settled(outcome)
        return acted.values()

    async def give_up(self, left_open: Iterable[Decision], seq: int) -> None:
        """Nobody can tell any more what came of a former worker's actions."""
        for decision in left_open:
            self.outcomes.opened(decision)
            await self.superseded(decision, seq, LEFT_OPEN)

    async def rule_on(self, verdicts: Sequence[Verdict]) -> bool:
        """Decide on verdicts, and have what is decided done; returns whether it is on
        record. What is not is not done."""
        return await self._publish([event for each in verdicts for event in self._answer(each)])

    async def rule_on_interruption(self, verdict: Verdict, *, insist: bool) -> Decision | None:
        """Decide on an interruption; with `insist` in favour of going on. Returns None where
        that is not on record, and so not done."""
        events = self._answer(verdict)
        decision = _last(events)
        if insist and decision.choice is not Choice.ACT:
            decision = ordered(verdict, self._now(), "resume", "told to go on")
            self.history.record_decision(decision)
            self.outcomes.opened(decision)
            events[-1] = decision
        return decision if await self._publish(events) else None

    async def rule_on_stop(self, verdict: Verdict) -> Decision | None:
        """Decide on the agent's wish to stop; `result_of` tells what came of it. Returns None
        where the decision is not on record, and so not done."""
        events = self._answer(verdict)
        decision = _last(events)
        if decision.choice is Choice.ACT:
            self._results[decision.id] = asyncio.get_running_loop().create_future()
        return decision if await self._publish(events) else None

    async def result_of(self, decision: Decision) -> ActionResult:
        """What the action that a stop led to did, once it is done."""
        try:
            return await self._results[decision.id]
        finally:
            self._results.pop(decision.id, None)

    def is_done(self, decision: Decision, result: ActionResult) -> None:
        """An action was carried out, or given up."""
        waiting = self._results.get(decision.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes of actions."""
        for outcome in outcomes:
            self.history.record_outcome(outcome)
        await self._publish(outcomes)

    async def turn_ended(self, seq: int, stopped: str | None = None) -> None:
        """The main agent yielded, or all were stopped and why: settle what is open."""
        await self.settle(self.outcomes.turn_ended(seq, self._now(), stopped))

    async def turned_out(
        self, decision: Decision, status: OutcomeStatus, seq: int, reason: str
    ) -> None:
        """An action says itself whether it helped."""
        await self.settle(self.outcomes.turned_out(decision, status, seq, self._now(), reason))

    async def failed(self, decision: Decision, seq: int, reason: str) -> None:
        """An action could not be carried out: its ladder goes on from there."""
        settled = self.outcomes.failed(decision, seq, self._now(), reason)
        await self.settle(settled)
        self.history.record_nothing_done(decision)
        if settled and decision.verdict.failure_mode not in _DECIDED_ELSEWHERE:
            await self._publish([self._decide(decision.verdict, self._now())])
        self.is_done(decision, ActionResult(detail=reason, status=OutcomeStatus.FAILED))

    async def superseded(self, decision: Decision, seq: int, reason: str) -> None:
        """An action was not carried out, because something else came first."""
        await self.settle(self.outcomes.superseded(decision, seq, self._now(), reason))
        self.is_done(decision, ActionResult(detail=reason, status=OutcomeStatus.SUPERSEDED))

    def _answer(self, verdict: Verdict) -> list[Event]:
        """The verdict, what it settles, and the decision on it."""
        now = self._now()
        late = self._bearings.at(verdict).gone
        settled = [] if late else self.outcomes.judged(verdict, now)
        for outcome in settled:
            self.history.record_outcome(outcome)
        return [verdict, *settled, self._decide(verdict, now)]

    def _decide(self, verdict: Verdict, now: datetime) -> Decision:
        decision = decide(
            self.policy,
            verdict,
            self.history,
            now,
            actions=registry.actions(),
            capabilities=self.capabilities(verdict.agent_id),
            situation=self._bearings.at(verdict),
            hand_over="" if verdict.agent_id else self._hand_over,
        )
        self.history.record_decision(decision)
        self._bearings.decided(decision)
        if decision.choice is Choice.ACT:
            self.outcomes.opened(decision)
        return decision

    async def _publish(self, events: Sequence[Event]) -> bool:
        if not events:
            return True
        if not await self._journal.events(events):
            self._withdraw(events)
            return False
        for event in events:
            if isinstance(event, Outcome):
                self._came_to(event)
        for event in events:
            if isinstance(event, Decision):
                self._decided(event)
        return True

    def _came_to(self, outcome: Outcome) -> None:
        tokens = self._bearings.settled(outcome)
        METRICS.action_tokens.labels(outcome.failure_mode, outcome.action).inc(tokens)
        if outcome.failure_mode is FailureMode.STOP:
            self._stops.settled(outcome)

    def _took_effect(self, decision: Decision) -> None:
        self.history.record_effect(decision)
        waited = (self._now() - decision.at).total_seconds()
        METRICS.intervention_delay.labels(decision.action or "").observe(max(0.0, waited))

    def _withdraw(self, events: Sequence[Event]) -> None:
        """Unrecorded decisions are not acted on: the audit trail has no holes."""
        for event in events:
            if isinstance(event, Decision) and event.choice is Choice.ACT:
                reason = "not acted on: the decision could not be recorded"
                for outcome in self.outcomes.superseded(event, event.seq, self._now(), reason):
                    self.history.record_outcome(outcome)

    def _concerns(self, decision: Decision, verdict: Verdict) -> bool:
        rules = (rule for rule in self.policy.rules if rule.name == decision.rule)
        return any(matches(rule, verdict) for rule in rules)


def _last(events: Sequence[Event]) -> Decision:
    decision = events[-1]
    assert isinstance(decision, Decision)
    return decision
