"""`Judge`: stored entries in, verdicts out. The same live, on replay and in a scan.

A judge keeps, for each transcript and agent of one session, the reader that types its
raw entries, the detectors and the checkpoints. It is pure: no clock, store or network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from operator import methodcaller

import msgspec

from supervisor.core.checkpoint import Checkpoints
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Origin, Prompt, Unknown, is_output
from supervisor.core.verdict import Verdict
from supervisor.ingest.claude_code import TranscriptReader
from supervisor.policy.risk import RiskUse
from supervisor.runtime.risk import Signs, shipped_model
from supervisor.store.interface import StoredEntry

__all__ = ["Judge", "Judged", "Trouble", "objective_in"]

_OBJECTIVE_LIMIT = 4_000
"""Characters of the first prompt kept as a session's objective."""
_MOST_AGENTS = 64
"""Agents followed at a time, in all transcripts of a session. The one that was silent for
longest makes room for another, and is a new one if it speaks again."""


_Question = Callable[[Detector], Iterable[Verdict]]


class Trouble(msgspec.Struct, frozen=True):
    """Something that went wrong while judging, and where. The agent is not concerned."""

    source: str
    """`ingest`, or `detector:NAME`."""
    seq: int | None
    message: str


class Judged(msgspec.Struct, frozen=True):
    """What one raw entry came to."""

    entries: tuple[Entry, ...]
    verdicts: tuple[Verdict, ...] = ()
    troubles: tuple[Trouble, ...] = ()


def objective_in(entries: Iterable[Entry]) -> str | None:
    """What a user asks of the main agent in these entries, if anything; bounded."""
    for entry in entries:
        if isinstance(entry, Prompt) and entry.origin is Origin.USER and entry.agent_id is None:
            return entry.text[:_OBJECTIVE_LIMIT]
    return None


class _Agent:
    """One agent of one transcript: its detectors, checkpoints and signs of failure."""

    def __init__(self, detectors: list[Detector]) -> None:
        self.detectors = detectors
        self.signs = Signs()
        self.checkpoints = Checkpoints()
        self.heard_at = 0
        """Its latest entry."""


class Judge:
    """Types and judges the entries of one session, transcript by transcript."""

    def __init__(
        self,
        session_id: str,
        detectors: Mapping[str, type[Detector]],
        configs: Mapping[str, DetectorConfig],
        risk: RiskUse | None = None,
    ) -> None:
        """Detectors without an entry in `configs` run with their defaults."""
        self.session_id = session_id
        self._kinds = [
            (kind, config)
            for name, kind in sorted(detectors.items())
            if (config := configs.get(name) or kind.Config()).enabled
        ]
        self._readers: dict[tuple[str, str], TranscriptReader] = {}
        self._agents: dict[tuple[str, str | None], _Agent] = {}
        self._dismissed: set[str | None] = set()
        self._risk = risk or RiskUse()
        self._model = shipped_model() if self._risk.enabled else None

    def observe(self, stored: StoredEntry) -> Judged:
        """Take the session's next raw entry. Amortised O(1); never raises."""
        reader = self._reader(stored)
        return self.judge(reader.read(stored.raw, stored.seq, inherited=stored.inherited))

    def judge(self, entries: tuple[Entry, ...]) -> Judged:
        """Take the entries of the session's next raw entry, typed already. Never raises."""
        verdicts: list[Verdict] = []
        troubles: list[Trouble] = []
        for entry in entries:
            # Old versions wrote subagents into their parent's file: the entry knows best.
            agent = self._agent(entry, troubles)
            agent.heard_at = entry.seq
            if self._dismissed and is_output(entry):
                self._dismissed.discard(entry.agent_id)
            agent.checkpoints.observe(entry)
            if isinstance(entry, Unknown) and entry.problem:
                troubles.append(Trouble("ingest", entry.seq, entry.problem))
            if self._risk.enabled:
                agent.signs.observe(entry)
            found = self._ask(agent, methodcaller("observe", entry), entry.seq, troubles)
            if found and not entry.inherited:
                verdicts += self._weighed(agent, found)
            for verdict in found:
                agent.signs.found(verdict)
        return Judged(entries, tuple(verdicts), tuple(troubles))

    def dismiss(self, agent_id: str) -> None:
        """A subagent was stopped: its silence is none. One that goes on is judged again."""
        self._dismissed.add(agent_id)

    def tick(self, now: datetime) -> Judged:
        """Tell every detector the time."""
        return self._ask_all(methodcaller("tick", now))

    def finish(self) -> Judged:
        """Tell every detector that no entry follows."""
        return self._ask_all(methodcaller("finish"))

    def checkpoints(self, transcript: str, agent_id: str | None = None) -> Checkpoints | None:
        """The checkpoints of one agent's transcript, if any of it was seen."""
        agent = self._agents.get((transcript, agent_id))
        return agent.checkpoints if agent else None

    def signs(self, transcript: str, agent_id: str | None = None) -> Signs | None:
        """What one agent's transcript shows of its risk, if any of it was seen."""
        agent = self._agents.get((transcript, agent_id))
        return agent.signs if agent else None

    def _weighed(self, agent: _Agent, verdicts: list[Verdict]) -> list[Verdict]:
        """The verdicts, with the risk of the run that they were found in."""
        if not verdicts or self._model is None:
            return verdicts
        risk = self._model.risk(agent.signs.values())
        return [self._model.weighed(one, risk, sharpen=self._risk.sharpen) for one in verdicts]

    def _reader(self, stored: StoredEntry) -> TranscriptReader:
        key = (stored.transcript, stored.subpath)
        reader = self._readers.get(key)
        if reader is None:
            reader = TranscriptReader(self.session_id, stored.transcript, stored.agent_id)
            self._readers[key] = reader
        return reader

    def _agent(self, entry: Entry, troubles: list[Trouble]) -> _Agent:
        key = (entry.transcript, entry.agent_id)
        agent = self._agents.get(key)
        if agent is None:
            if len(self._agents) >= _MOST_AGENTS:
                del self._agents[min(self._agents, key=lambda one: self._agents[one].heard_at)]
            agent = self._agents[key] = _Agent(self._detectors(entry.seq, troubles))
        return agent

    def _detectors(self, seq: int, troubles: list[Trouble]) -> list[Detector]:
        """A new instance of each kind that is still switched on."""
        made: list[Detector] = []
        for kind, config in self._kinds:
            try:
                made.append(kind(config))
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                troubles.append(self._switch_off(kind.name, error, seq))
        return made

    def _ask_all(self, question: _Question) -> Judged:
        verdicts: list[Verdict] = []
        troubles: list[Trouble] = []
        for (_, agent_id), agent in self._agents.items():
            if agent_id in self._dismissed:
                continue
            verdicts += self._weighed(agent, self._ask(agent, question, None, troubles))
        return Judged((), tuple(verdicts), tuple(troubles))

    def _ask(
        self, agent: _Agent, question: _Question, seq: int | None, troubles: list[Trouble]
    ) -> list[Verdict]:
        """What an agent's detectors answer; one that raises is switched off for the session."""
        verdicts: list[Verdict] = []
        for detector in agent.detectors:
            try:
                verdicts += tuple(question(detector))  # all that it says, or nothing
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                troubles.append(self._switch_off(detector.name, error, seq))
        return verdicts

    def _switch_off(self, name: str, error: Exception, seq: int | None) -> Trouble:
        self._kinds = [(kind, config) for kind, config in self._kinds if kind.name != name]
        for agent in self._agents.values():
            # A new list: the caller may be walking the old one.
            agent.detectors = [kept for kept in agent.detectors if kept.name != name]
        said = f"switched off for this session: it raised {type(error).__name__}: {error}"
        return Trouble(f"detector:{name}", seq, said)
