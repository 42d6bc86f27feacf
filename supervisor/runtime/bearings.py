"""`Bearings`: what a session took so far and whose it is, for its policy's decisions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Set
from datetime import datetime, timedelta

import msgspec

from supervisor.core.decision import Choice, Decision
from supervisor.core.entry import Entry, Usage, is_output
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.policy.engine import LIMITS
from supervisor.policy.model import Limits, Policy
from supervisor.policy.situation import Record, Situation, record_of
from supervisor.store.interface import Store, StoredEntry

__all__ = ["Bearings", "Meter", "chooses", "record_in"]

_REMEMBERED = 256
"""Agents whose newest message, and decisions whose beginning, are kept; oldest go first."""
_SESSIONS = 200
"""Sessions, the last changed first, whose outcomes make a record: what an action did long
ago, under another model, says little."""


_LATE = timedelta(seconds=5)
"""What a stopped subagent wrote up to then it may have begun before: the answer of its model
was on the way, and the mirror runs some 0.1 s behind. What it writes later shows that it goes
on all the same."""


_Parts = tuple[int, int, int, int]
_NOTHING: _Parts = (0, 0, 0, 0)
_USES = ("input", "output", "cache_read", "cache_write")


class _Metadata(msgspec.Struct):
    type: str = ""
    agent_type: str = msgspec.field(default="", name="agentType")


class Meter:
    """Counts the tokens that a session's agents read and write.

    Each line of one model message repeats the message's usage, and the last line knows it
    best: what a message adds is what it says more than before.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.added: dict[str, int] = {}
        """By the last line, by their use."""
        self._newest: OrderedDict[tuple[str, str | None], tuple[str, _Parts]] = OrderedDict()

    def take(self, entries: Iterable[Entry]) -> None:
        """Count the entries of the next line."""
        self.added = {}
        for entry in entries:
            usage, message = getattr(entry, "usage", None), getattr(entry, "message_id", None)
            if isinstance(usage, Usage):
                self._count((entry.transcript, entry.agent_id), message or "", usage)

    def _count(self, agent: tuple[str, str | None], message: str, usage: Usage) -> None:
        last, counted = self._newest.pop(agent, ("", _NOTHING))
        if message != last or not message:
            counted = _NOTHING
        parts = (
            max(counted[0], usage.input_tokens),
            max(counted[1], usage.output_tokens),
            max(counted[2], usage.cache_read_tokens),
            max(counted[3], usage.cache_write_tokens),
        )
        if parts != counted:
            for use, more, before in zip(_USES, parts, counted, strict=True):
                self._add(use, more - before)
        self._newest[agent] = message, parts
        if len(self._newest) > _REMEMBERED:
            self._newest.popitem(last=False)

    def _add(self, use: str, tokens: int) -> None:
        if tokens > 0:
            self.tokens += tokens
            self.added[use] = self.added.get(use, 0) + tokens


class Bearings:
    """One session's. It is fed every entry, in order."""

    def __init__(self, session_id: str, labels: Mapping[str, str] | None = None) -> None:
        self.labels = dict(labels or {})
        self.cost_usd = 0.0
        """What the runtime said last that the session has cost."""
        self._session_id = session_id
        self._meter = Meter()
        self._agent_types: dict[str, str] = {}
        self._record: dict[tuple[str, str], tuple[int, int]] = {}
        self._begun: OrderedDict[str, int] = OrderedDict()
        self._told: set[str] = set()
        self._stopped: dict[str | None, datetime] = {}

    @property
    def tokens(self) -> int:
        """Read and written by all agents so far."""
        return self._meter.tokens

    @property
    def added(self) -> Mapping[str, int]:
        """The tokens that the last line added, by use."""
        return self._meter.added

    @property
    def gone(self) -> Set[str | None]:
        """The subagents that were stopped."""
        return self._stopped.keys()

    def stopped(self, agent_id: str, at: datetime) -> None:
        """A subagent was stopped: what is found in what it did before needs nothing done."""
        self._stopped[agent_id] = at

    def know(self, record: Record) -> None:
        """How actions turned out in other sessions."""
        self._record = dict(record)

    def take(self, stored: StoredEntry, entries: Iterable[Entry]) -> None:
        """Take the next line, raw and typed."""
        if not stored.inherited:  # it was counted where it first stood
            self._meter.take(entries)
        if self._stopped:
            self._note_life(entries)
        if stored.subpath and b'"agentType"' in stored.raw:
            self._note_type(stored)

    def _note_life(self, entries: Iterable[Entry]) -> None:
        """A stopped subagent that goes on is decided on again."""
        for entry in entries:
            since = self._stopped.get(entry.agent_id)
            late = entry.at is not None and since is not None and entry.at > since + _LATE
            if late and is_output(entry):
                del self._stopped[entry.agent_id]

    def _note_type(self, stored: StoredEntry) -> None:
        try:
            found = msgspec.json.decode(stored.raw, type=_Metadata)
        except (msgspec.MsgspecError, RecursionError):
            return
        if found.type == "agent_metadata" and found.agent_type and stored.agent_id:
            self._agent_types[stored.agent_id] = found.agent_type[:100]

    def at(self, verdict: Verdict) -> Situation:
        """The situation that a verdict is decided in."""
        return Situation(
            labels=self.labels,
            agent_type=self._agent_types.get(verdict.agent_id) if verdict.agent_id else None,
            cost_usd=self.cost_usd,
            tokens=self.tokens,
            record=self._record,
            gone=verdict.agent_id in self._stopped,
        )

    def overspent(self, limits: Limits, stored: StoredEntry) -> list[Verdict]:
        """That a budget is spent, once for each, at the entry that spent it."""
        found = []
        for name, budget, spent in (
            ("tokens", limits.tokens, self.tokens),
            ("cost_usd", limits.cost_usd, self.cost_usd),
        ):
            if budget is not None and spent >= budget.max and name not in self._told:
                self._told.add(name)
                found.append(self._overspent(name, budget.max, spent, stored))
        return found

    def _overspent(self, name: str, most: float, spent: float, stored: StoredEntry) -> Verdict:
        return Verdict(
            session_id=self._session_id,
            transcript=stored.transcript,
            seq=stored.seq,
            onset_seq=stored.seq,
            detector=LIMITS,
            failure_mode=FailureMode.OVERRUN,
            severity=Severity.WARNING,
            confidence=1.0,
            summary=f"the session's budget is spent: {name} {spent:g} of {most:g}",
            evidence=Evidence(entries=(stored.seq,), facts={"spent": spent, "max": most}),
            key=name,
        )

    def decided(self, decision: Decision) -> None:
        """Note where an action began, and that a budget was answered already."""
        if decision.verdict.detector == LIMITS:
            self._told.add(decision.verdict.key)
        if decision.choice is Choice.ACT:
            self._begun[decision.id] = self.tokens
            if len(self._begun) > _REMEMBERED:
                self._begun.popitem(last=False)

    def settled(self, outcome: Outcome) -> int:
        """Note what came of an action; returns the tokens that the session took since it
        was decided, 0 where that is not known or was told before."""
        self._count(outcome)
        begun = self._begun.pop(outcome.decision_id, self.tokens)
        return self.tokens - begun

    def _count(self, outcome: Outcome) -> None:
        if outcome.status is OutcomeStatus.SUPERSEDED:
            return
        key = (str(outcome.failure_mode), outcome.action)
        helped, failed = self._record.get(key, (0, 0))
        if outcome.status is OutcomeStatus.CLEARED:
            helped += 1
        else:
            failed += 1
            helped -= outcome.status is OutcomeStatus.RELAPSED and helped > 0
        self._record[key] = helped, failed


def chooses(policy: Policy) -> bool:
    """Whether some step of the policy chooses by the record."""
    return any(rung.others for _, _, rung in policy.rungs())


async def record_in(store: Store) -> Record:
    """How actions turned out in the store's newest sessions."""
    outcomes: list[Outcome] = []
    for row in await store.sessions(_SESSIONS):
        if row.interventions:
            outcomes += await store.outcomes(row.session_id)
    return record_of(outcomes)
