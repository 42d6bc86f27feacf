"""`History`: what was done to a session so far and how it turned out, for `decide`."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import TypeVar
from weakref import WeakValueDictionary

from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome
from supervisor.core.verdict import FailureMode
from supervisor.policy.limits import MAX_INTERVENTIONS

__all__ = ["MAX_REMEMBERED", "Acted", "History"]

MAX_REMEMBERED = 1024
"""Agents, rules of an agent and failures of an agent that are told apart; the one acted
on longest ago is dropped first, and its ladder would start again."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Acted:
    """One decision that was acted on, whether its action shows by now, and its newest
    outcome."""

    __slots__ = ("__weakref__", "came_to_nothing", "decision", "in_effect", "outcome")

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.in_effect = False
        self.came_to_nothing = False
        self.outcome: Outcome | None = None

    @property
    def is_resumption(self) -> bool:
        """Whether it answers an interruption."""
        return self.decision.verdict.failure_mode is FailureMode.INTERRUPTION

    @property
    def shown(self) -> bool:
        """Whether its action was carried out: an outcome that tells what was done says so
        too, when the decision comes from the store."""
        return self.in_effect or bool(self.outcome and self.outcome.did)


class History:
    """The acted decisions of one session. Its owner records; `decide` only reads.

    Recording and reading are O(1); memory is bounded by `MAX_REMEMBERED`. Feeding the
    stored decisions and outcomes of a session in their order rebuilds it.
    """

    def __init__(self) -> None:
        self._interventions: deque[datetime] = deque(maxlen=MAX_INTERVENTIONS)
        self._resumptions: deque[datetime] = deque(maxlen=MAX_INTERVENTIONS)
        self._of_agent: dict[str | None, Acted] = {}
        self._of_rule: dict[tuple[str | None, str | None], Acted] = {}
        self._of_failure: dict[tuple[str | None, str | None, str], Acted] = {}
        self._of_limit: dict[str, Acted] = {}
        self._first_sight: dict[tuple[str, str | None, str], tuple[int, datetime]] = {}
        self._by_id: WeakValueDictionary[str, Acted] = WeakValueDictionary()

    def record_decision(self, decision: Decision) -> None:
        """Note a decision. Those that lead to no action only tell when a failure was first
        seen; those that are noted already change nothing."""
        self._note_sight(decision)
        if decision.choice is not Choice.ACT or decision.id in self._by_id:
            return
        acted, agent = Acted(decision), decision.verdict.agent_id
        self._by_id[decision.id] = acted
        if decision.verdict.failure_mode is not FailureMode.STOP:
            self._times(acted.is_resumption).append(decision.at)
        _remember(self._of_agent, agent, acted)
        _remember(self._of_rule, (decision.rule, agent), acted)
        if decision.limit is not None:
            self._of_limit[decision.limit] = acted
        if decision.rung is not None:
            _remember(self._of_failure, (decision.rule, agent, decision.verdict.key), acted)

    def record_effect(self, decision: Decision) -> None:
        """Note that the agent has been shown what was decided."""
        acted = self._by_id.get(decision.id)
        if acted is not None:
            acted.in_effect = True

    def record_nothing_done(self, decision: Decision) -> None:
        """Note that the action could not be carried out: there is nothing to cool down from."""
        acted = self._by_id.get(decision.id)
        if acted is not None:
            acted.came_to_nothing = True

    def record_outcome(self, outcome: Outcome) -> None:
        """Note what came of a decision; a later outcome replaces an earlier one.

        The outcome of a decision that is no longer remembered changes nothing.
        """
        acted = self._by_id.get(outcome.decision_id)
        if acted is not None:
            acted.outcome = outcome

    def last_of_agent(self, agent_id: str | None) -> Acted | None:
        """The last decision acted on for this agent, whatever the rule."""
        return self._of_agent.get(agent_id)

    def last_of_rule(self, rule: str, agent_id: str | None) -> Acted | None:
        """The last decision acted on for this rule and agent."""
        return self._of_rule.get((rule, agent_id))

    def last_of_failure(self, rule: str, agent_id: str | None, key: str) -> Acted | None:
        """The last rung taken by this rule for this agent's failure `key`."""
        return self._of_failure.get((rule, agent_id, key))

    def last_of_limit(self, name: str) -> Acted | None:
        """The last action taken because this limit was reached."""
        return self._of_limit.get(name)

    def first_sight(self, rule: str, agent_id: str | None, key: str) -> tuple[int, datetime] | None:
        """The entry and the time at which this rule first answered this agent's failure
        `key`. Once an action was taken on it, the ladder counts from that."""
        return self._first_sight.get((rule, agent_id, key))

    def _note_sight(self, decision: Decision) -> None:
        if decision.rule is None:
            return
        failure = (decision.rule, decision.verdict.agent_id, decision.verdict.key)
        if failure not in self._first_sight:
            _remember(self._first_sight, failure, (decision.seq, decision.at))

    def time_of(self, last: int, *, interruptions: bool = False) -> datetime | None:
        """When the `last`-th newest decision of the session was acted on (1: the newest):
        on what the agent does, or on interruptions."""
        times = self._times(interruptions)
        return times[-last] if last <= len(times) else None

    def _times(self, interruptions: bool) -> deque[datetime]:
        return self._resumptions if interruptions else self._interventions


def _remember(known: dict[Key, Value], key: Key, value: Value) -> None:
    known.pop(key, None)
    known[key] = value
    if len(known) > MAX_REMEMBERED:
        del known[next(iter(known))]
