"""`History`: what was done to a session so far and how it turned out, for `decide`."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import TypeVar
from weakref import WeakValueDictionary

from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome
from supervisor.policy.model import MAX_INTERVENTIONS

__all__ = ["MAX_REMEMBERED", "Acted", "History"]

MAX_REMEMBERED = 1024
"""Agents, rules of an agent and failures of an agent that are told apart; the one acted
on longest ago is dropped first, and its ladder would start again."""

Key = TypeVar("Key")


class Acted:
    """One decision that was acted on, whether its action shows by now, and its newest
    outcome."""

    __slots__ = ("__weakref__", "decision", "in_effect", "outcome")

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.in_effect = False
        self.outcome: Outcome | None = None


class History:
    """The acted decisions of one session. Its owner records; `decide` only reads.

    Recording and reading are O(1); memory is bounded by `MAX_REMEMBERED`. Feeding the
    stored decisions and outcomes of a session in their order rebuilds it.
    """

    def __init__(self) -> None:
        self._times: deque[datetime] = deque(maxlen=MAX_INTERVENTIONS)
        self._of_agent: dict[str | None, Acted] = {}
        self._of_rule: dict[tuple[str | None, str | None], Acted] = {}
        self._of_failure: dict[tuple[str | None, str | None, str], Acted] = {}
        self._by_id: WeakValueDictionary[str, Acted] = WeakValueDictionary()

    def record_decision(self, decision: Decision) -> None:
        """Note a decision. Those that lead to no action, or are noted already, change nothing."""
        if decision.choice is not Choice.ACT or decision.id in self._by_id:
            return
        acted, agent = Acted(decision), decision.verdict.agent_id
        self._by_id[decision.id] = acted
        self._times.append(decision.at)
        _remember(self._of_agent, agent, acted)
        _remember(self._of_rule, (decision.rule, agent), acted)
        if decision.rung is not None:
            _remember(self._of_failure, (decision.rule, agent, decision.verdict.key), acted)

    def record_effect(self, decision: Decision) -> None:
        """Note that the agent has been shown what was decided."""
        acted = self._by_id.get(decision.id)
        if acted is not None:
            acted.in_effect = True

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

    def time_of(self, last: int) -> datetime | None:
        """When the `last`-th newest decision of the session was acted on (1: the newest)."""
        return self._times[-last] if last <= len(self._times) else None


def _remember(acted_by: dict[Key, Acted], key: Key, acted: Acted) -> None:
    acted_by.pop(key, None)
    acted_by[key] = acted
    if len(acted_by) > MAX_REMEMBERED:
        del acted_by[next(iter(acted_by))]
