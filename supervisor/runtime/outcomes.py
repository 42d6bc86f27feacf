"""`Outcomes`: whether actions helped, read off the entries that follow them.

An action takes effect at an entry: a nudge with the tool result it was shown beside, a
prompt or a rollback with Lucid's own prompt. From there its window is open:

- the same failure, found on a call made after the effect: *failed*;
- `WINDOW` tool results without it, or the end of the turn: *cleared*;
- the turn ends before the effect: *superseded*;
- `PATIENCE` calls that began after a text was queued have their results, and it was shown
  beside none of them (calls of unknown tools have no boundary): *failed*. Calls from before
  count for nothing: the transcript may be read long behind the agent;
- the same failure again after *cleared*: *relapsed*.

Pure: entries, verdicts and time in, outcomes out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from supervisor.core.decision import Decision
from supervisor.core.entry import Entry, Origin, Prompt, Text, ToolCall, ToolResult, is_output
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import FailureMode, Verdict

__all__ = ["PATIENCE", "WINDOW", "Outcomes"]

WINDOW = 5
"""Tool results without the failure that count as cleared. Longer than the three repeats
that a loop needs to show again, short enough that a session has time for a next rung."""

PATIENCE = 3
"""Tool calls that a queued text may miss before another action must do."""

_REMEMBERED = 256
"""How many cleared failures are kept, to know a relapse by, and calls under way of an agent
that has not met a queued text."""


@dataclass
class _Open:
    """An action whose outcome is still to come."""

    decision: Decision
    did: str = ""
    queued_at: datetime | None = None
    missing: set[str] = field(default_factory=set)
    """Calls under way that began after the text was queued."""
    missed: int = 0
    beside_call: str | None = None
    effect_seq: int | None = None
    calls: int = 0
    said_seq: int = 0
    """Where the agent spoke last: words can show the failure without a call."""
    results: int = 0

    @property
    def is_resumption(self) -> bool:
        """Whether it answers an interruption."""
        return self.decision.verdict.failure_mode is FailureMode.INTERRUPTION

    @property
    def is_on_stop(self) -> bool:
        """Whether it answers the agent's wish to end its turn."""
        return self.decision.verdict.failure_mode is FailureMode.STOP


class Outcomes:
    """The open actions of one session, at most one for each agent and rule.

    Each call takes time by the open actions of one agent, which are few.
    """

    def __init__(
        self,
        concerns: Callable[[Decision, Verdict], bool],
        took_effect: Callable[[Decision], None],
    ) -> None:
        """`concerns(decision, verdict)`: would the decision's rule act on the verdict?
        `took_effect` hears of each action when its effect begins."""
        self._concerns = concerns
        self._took_effect = took_effect
        self._open: dict[str | None, dict[str | None, _Open]] = {}
        self._cleared: OrderedDict[tuple[str | None, str, str], Decision] = OrderedDict()

    def is_open(self, agent_id: str | None) -> bool:
        """Whether an action for this agent waits for its outcome."""
        return agent_id in self._open

    def is_pending(self, decision: Decision) -> bool:
        """Whether this decision's action waits for its outcome."""
        return self._pending(decision) is not None

    def _pending(self, decision: Decision) -> _Open | None:
        action = self._open.get(decision.verdict.agent_id, {}).get(decision.rule)
        return action if action is not None and action.decision.id == decision.id else None

    def opened(self, decision: Decision) -> None:
        """An action was decided; its effect is still to come."""
        self._open.setdefault(decision.verdict.agent_id, {})[decision.rule] = _Open(decision)

    def acted(self, decision: Decision, did: str) -> None:
        """The action was carried out; `did` says how."""
        if (action := self._pending(decision)) is not None:
            action.did = did

    def resumed(self, decision: Decision, seq: int) -> None:
        """The interrupted turn goes on from here."""
        self.took_effect(decision, seq)

    def took_effect(self, decision: Decision, seq: int) -> None:
        """The action's window begins here."""
        if (action := self._pending(decision)) is not None:
            action.effect_seq = seq
            self._took_effect(decision)

    def interrupted(self, seq: int, now: datetime) -> list[Outcome]:
        """The turn was interrupted: what has had no effect on it yet never will."""
        reason = "the turn was interrupted before it took effect"
        waiting = [action for action in self._open.get(None, {}).values() if not action.effect_seq]
        return [
            self._settle(action, OutcomeStatus.SUPERSEDED, seq, now, reason) for action in waiting
        ]

    def queued(self, decision: Decision, now: datetime) -> None:
        """The action's text waits for a tool boundary."""
        if (action := self._pending(decision)) is not None:
            action.queued_at = now

    def shown(self, decision: Decision, call_id: str) -> None:
        """The action's text will be read beside the result of this call."""
        if (action := self._pending(decision)) is not None:
            action.beside_call = call_id

    def observe(self, entry: Entry, now: datetime) -> list[Outcome]:
        """Take the session's next entry; returns what it settles."""
        actions = self._open.get(entry.agent_id)
        if actions is None or entry.inherited:
            return []
        settled: list[Outcome] = []
        for action in list(actions.values()):
            settled.extend(self._follow(action, entry, now))
        return settled

    def _follow(self, action: _Open, entry: Entry, now: datetime) -> list[Outcome]:
        if action.effect_seq is None:
            return self._await_effect(action, entry, now)
        if action.is_resumption:
            return self._await_answer(action, entry, now)
        if action.is_on_stop:
            return []  # the next stop tells
        if isinstance(entry, Text):
            action.said_seq = entry.seq
        if isinstance(entry, ToolCall):
            action.calls += 1
        if isinstance(entry, ToolResult) and action.calls:
            action.results += 1
        if action.results < WINDOW:
            return []
        reason = f"{WINDOW} tool results without it"
        return [self._settle(action, OutcomeStatus.CLEARED, entry.seq, now, reason)]

    def _await_effect(self, action: _Open, entry: Entry, now: datetime) -> list[Outcome]:
        if self._takes_effect(action, entry):
            action.effect_seq = entry.seq
            self._took_effect(action.decision)
        elif action.queued_at is not None and action.beside_call is None:
            self._note_missed(action, entry, action.queued_at)
            if action.missed == PATIENCE:
                reason = f"no tool boundary to show it at in {PATIENCE} tool calls"
                return [self._settle(action, OutcomeStatus.FAILED, entry.seq, now, reason)]
        return []

    @staticmethod
    def _note_missed(action: _Open, entry: Entry, queued_at: datetime) -> None:
        if isinstance(entry, ToolCall) and (entry.at is None or entry.at > queued_at):
            if len(action.missing) < _REMEMBERED:
                action.missing.add(entry.call_id)
        elif isinstance(entry, ToolResult) and entry.call_id in action.missing:
            action.missing.discard(entry.call_id)
            action.missed += 1

    def _await_answer(self, action: _Open, entry: Entry, now: datetime) -> list[Outcome]:
        if not is_output(entry):
            return []
        return [self._settle(action, OutcomeStatus.CLEARED, entry.seq, now, "the model answers")]

    @staticmethod
    def _takes_effect(action: _Open, entry: Entry) -> bool:
        if isinstance(entry, ToolResult):
            return entry.call_id == action.beside_call
        return isinstance(entry, Prompt) and entry.origin is Origin.LUCID

    def judged(self, verdict: Verdict, now: datetime) -> list[Outcome]:
        """Take a verdict, before it is decided on; returns what it settles."""
        actions = self._open.get(verdict.agent_id, {}).values()
        concerned = [action for action in actions if self._is_on(action, verdict)]
        if concerned:
            reason = f"{verdict.failure_mode} again at entry {verdict.seq}"
            return [
                self._settle(action, OutcomeStatus.FAILED, verdict.seq, now, reason)
                for action in concerned
                if self._shows_failure(action, verdict)
            ]
        decision = self._cleared.pop(_failure(verdict), None)
        if decision is None:
            return []
        reason = f"{verdict.failure_mode} came back at entry {verdict.seq}"
        return [_outcome(decision, OutcomeStatus.RELAPSED, verdict.seq, now, reason)]

    def _is_on(self, action: _Open, verdict: Verdict) -> bool:
        """Interruptions are all one failure; others are told apart by their rule. A stop is
        none, whatever else its rule is for."""
        if action.is_on_stop or verdict.failure_mode is FailureMode.STOP:
            return action.is_on_stop and verdict.failure_mode is FailureMode.STOP
        if verdict.failure_mode is FailureMode.INTERRUPTION:
            return action.is_resumption
        return self._concerns(action.decision, verdict)

    @staticmethod
    def _shows_failure(action: _Open, verdict: Verdict) -> bool:
        if action.is_resumption or action.is_on_stop:
            return action.effect_seq is not None
        if action.effect_seq is None or verdict.seq <= action.effect_seq:
            return False
        return action.calls > 0 or verdict.seq == action.said_seq

    def failed(self, decision: Decision, seq: int, now: datetime, reason: str) -> list[Outcome]:
        """The action could not be carried out."""
        return self._end(decision, OutcomeStatus.FAILED, seq, now, reason)

    def turned_out(
        self, decision: Decision, status: OutcomeStatus, seq: int, now: datetime, reason: str
    ) -> list[Outcome]:
        """The action itself can tell how it turned out."""
        return self._end(decision, status, seq, now, reason)

    def superseded(self, decision: Decision, seq: int, now: datetime, reason: str) -> list[Outcome]:
        """Something else came before the action."""
        return self._end(decision, OutcomeStatus.SUPERSEDED, seq, now, reason)

    def turn_ended(self, seq: int, now: datetime, stopped: str | None = None) -> list[Outcome]:
        """The main agent yielded: settle what is open on it; subagents may go on. Or all
        of them were stopped, and why."""
        settled = []
        agents = list(self._open) if stopped is not None else [None]
        for action in [found for agent in agents for found in self._open.get(agent, {}).values()]:
            if stopped is not None:
                status, reason = OutcomeStatus.SUPERSEDED, stopped
            elif action.effect_seq is None:
                status, reason = OutcomeStatus.SUPERSEDED, "the turn ended before it took effect"
            elif action.is_on_stop:
                status, reason = OutcomeStatus.SUPERSEDED, "the turn ended all the same"
            else:
                status, reason = OutcomeStatus.CLEARED, "the turn ended without it"
            settled.append(self._settle(action, status, seq, now, reason))
        return settled

    def _end(
        self, decision: Decision, status: OutcomeStatus, seq: int, now: datetime, reason: str
    ) -> list[Outcome]:
        action = self._pending(decision)
        return [] if action is None else [self._settle(action, status, seq, now, reason)]

    def _settle(
        self, action: _Open, status: OutcomeStatus, seq: int, now: datetime, reason: str
    ) -> Outcome:
        verdict = action.decision.verdict
        actions = self._open[verdict.agent_id]
        del actions[action.decision.rule]
        if not actions:
            del self._open[verdict.agent_id]
        if status is OutcomeStatus.CLEARED and not action.is_resumption:
            self._cleared[_failure(verdict)] = action.decision
            if len(self._cleared) > _REMEMBERED:
                self._cleared.popitem(last=False)
        return _outcome(action.decision, status, seq, now, reason, action.did)


def _failure(verdict: Verdict) -> tuple[str | None, str, str]:
    return verdict.agent_id, verdict.failure_mode, verdict.key


def _outcome(
    decision: Decision, status: OutcomeStatus, seq: int, now: datetime, reason: str, did: str = ""
) -> Outcome:
    return Outcome(
        session_id=decision.session_id,
        decision_id=decision.id,
        action=decision.action or "",
        failure_mode=decision.verdict.failure_mode,
        agent_id=decision.verdict.agent_id,
        status=status,
        seq=seq,
        at=now,
        reason=reason,
        did=did,
    )
