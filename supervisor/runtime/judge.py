"""`Judge`: stored entries in, verdicts out. The same live, on replay and in a scan.

A judge keeps, for each transcript and agent of one session, the reader that types its
raw entries, the detectors and the checkpoints. It is pure: no clock, store or network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from operator import methodcaller
from typing import Protocol

import msgspec

from supervisor.core.checkpoint import Checkpoints
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Notice, Origin, Prompt, Text, Unknown
from supervisor.core.verdict import Verdict
from supervisor.ingest.claude_code import TranscriptReader
from supervisor.policy.risk import RiskUse
from supervisor.runtime.errands import Errands, has_ended
from supervisor.runtime.risk import Signs, shipped_model
from supervisor.store.interface import StoredEntry

__all__ = ["Judge", "Judged", "Trouble", "Watch", "objective_in"]

_OBJECTIVE_LIMIT = 4_000
"""Characters of the first prompt kept as a session's objective."""
_MOST_AGENTS = 32
"""Agents at work at a time, in all transcripts of a session: subagents that are done take no
room. Of more, the one that was silent for longest makes room for another, and is a new one if
it speaks again."""
_MOST_KNOWN = 64
"""Agents at work and done; of the latter little more than the signs of risk are kept."""


_Question = Callable[[Detector], Iterable[Verdict]]


class Trouble(msgspec.Struct, frozen=True):
    """Something that went wrong while judging, and where. The agent is not concerned."""

    source: str
    """`ingest`, or `detector:NAME`."""
    seq: int | None
    message: str


class Watch(Protocol):
    """Measures how long detectors take. The judge itself knows no clock."""

    def begin(self) -> bool:
        """The first of them is asked; returns whether this time is measured."""

    def lap(self, detector: str) -> None:
        """This one has answered, and the next is asked."""


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

    def __init__(self) -> None:
        self.detectors: list[Detector] = []
        self.at_work = False
        """Whether it has detectors; False before its first step, and when it is done."""
        self.signs = Signs()
        self.checkpoints = Checkpoints()
        self.errands = Errands()
        self.heard_at = 0
        """Its latest entry."""
        self.has_spoken_last = False
        """Whether that was its own text."""

    def put_down(self) -> None:
        """It is done: what its detectors know is of no use any more."""
        self.detectors, self.at_work = [], False
        self.checkpoints = Checkpoints()


class Judge:
    """Types and judges the entries of one session, transcript by transcript."""

    def __init__(
        self,
        session_id: str,
        detectors: Mapping[str, type[Detector]],
        configs: Mapping[str, DetectorConfig],
        risk: RiskUse | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Detectors without an entry in `configs` run with their defaults. `watch` hears when
        they begin and when each has answered."""
        self.session_id = session_id
        self._kinds = [
            (kind, config)
            for name, kind in sorted(detectors.items())
            if (config := configs.get(name) or kind.Config()).enabled
        ]
        self._readers: dict[tuple[str, str], TranscriptReader] = {}
        self._agents: dict[tuple[str, str | None], _Agent] = {}
        self._risk = risk or RiskUse()
        self._watch = watch
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
            agent.heard_at, agent.has_spoken_last = entry.seq, isinstance(entry, Text)
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
            for done in self._done_with(agent, entry):
                verdicts += self._put_down(done, entry, troubles)
        return Judged(entries, tuple(verdicts), tuple(troubles))

    def tick(self, now: datetime, stopped: Collection[str | None] = ()) -> Judged:
        """Tell every detector the time, but those of agents that were `stopped`: their
        silence is none."""
        return self._ask_all(methodcaller("tick", now), stopped)

    def finish(self, stopped: Collection[str | None] = ()) -> Judged:
        """Tell every detector that no entry follows, but those of agents that were `stopped`."""
        return self._ask_all(methodcaller("finish"), stopped)

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
            if len(self._agents) >= _MOST_KNOWN:
                del self._agents[min(self._agents, key=lambda one: self._agents[one].heard_at)]
            agent = self._agents[key] = _Agent()
        if not agent.at_work and not (agent.heard_at and isinstance(entry, Notice | Unknown)):
            self._make_room(entry, troubles)
            agent.detectors, agent.at_work = self._detectors(entry, troubles), True
        return agent

    def _make_room(self, entry: Entry, troubles: list[Trouble]) -> None:
        at_work = [one for one in self._agents.values() if one.at_work]
        if len(at_work) < _MOST_AGENTS:
            return
        min(at_work, key=lambda one: one.heard_at).put_down()
        message = f"more than {_MOST_AGENTS} agents at work: the one silent for longest is let go"
        troubles.append(Trouble("judge", entry.seq, message))

    def _done_with(self, agent: _Agent, entry: Entry) -> Iterable[_Agent]:
        """The subagents that are done with this entry: the one whose it is, or those that its
        result brings back."""
        if agent.errands.observe(entry):
            return [
                other
                for (transcript, agent_id), other in self._agents.items()
                if transcript == entry.transcript
                and agent_id not in {None, entry.agent_id}
                and other.has_spoken_last
            ]
        return (agent,) if entry.agent_id is not None and has_ended(entry) else ()

    def _put_down(self, agent: _Agent, entry: Entry, troubles: list[Trouble]) -> list[Verdict]:
        """Let go of an agent that is done; what is left to say of it is said now."""
        found = self._ask(agent, methodcaller("finish"), None, troubles)
        agent.put_down()
        return [] if entry.inherited else self._weighed(agent, found)

    def _detectors(self, entry: Entry, troubles: list[Trouble]) -> list[Detector]:
        """A new instance of each kind that is still switched on."""
        made: list[Detector] = []
        elder = self._eldest(entry.transcript)
        for kind, config in self._kinds:
            try:
                detector = kind(config)
                if (other := elder.get(kind.name)) is not None:
                    detector.join(other)
                if not detector.idle:
                    made.append(detector)
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                troubles.append(self._switch_off(kind.name, error, entry.seq))
        return made

    def _eldest(self, transcript: str) -> dict[str, Detector]:
        """The detectors, by name, of the first agent of a transcript that is at work."""
        for (name, _), agent in self._agents.items():
            if name == transcript and agent.at_work:
                return {one.name: one for one in agent.detectors}
        return {}

    def _ask_all(self, question: _Question, stopped: Collection[str | None]) -> Judged:
        verdicts: list[Verdict] = []
        troubles: list[Trouble] = []
        for (_, agent_id), agent in self._agents.items():
            if agent_id in stopped:
                continue
            verdicts += self._weighed(agent, self._ask(agent, question, None, troubles))
        return Judged((), tuple(verdicts), tuple(troubles))

    def _ask(
        self, agent: _Agent, question: _Question, seq: int | None, troubles: list[Trouble]
    ) -> list[Verdict]:
        """What an agent's detectors answer; one that raises is switched off for the session."""
        verdicts: list[Verdict] = []
        watch = self._watch if self._watch is not None and self._watch.begin() else None
        for detector in agent.detectors:
            try:
                if found := question(detector):  # mostly an empty tuple
                    verdicts += tuple(found)  # all that it says, or nothing
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                troubles.append(self._switch_off(detector.name, error, seq))
            if watch is not None:
                watch.lap(detector.name)
        return verdicts

    def _switch_off(self, name: str, error: Exception, seq: int | None) -> Trouble:
        self._kinds = [(kind, config) for kind, config in self._kinds if kind.name != name]
        for agent in self._agents.values():
            # A new list: the caller may be walking the old one.
            agent.detectors = [kept for kept in agent.detectors if kept.name != name]
        said = f"switched off for this session: it raised {type(error).__name__}: {error}"
        return Trouble(f"detector:{name}", seq, said)
