"""What a policy would have done in sessions that are over."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from supervisor.core.decision import Choice, Decision
from supervisor.core.detector import DetectorConfig
from supervisor.core.outcome import OutcomeStatus
from supervisor.errors import SupervisorError, TranscriptError
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.rehearsal import Rehearsal
from supervisor.runtime.replay import scan
from supervisor.runtime.submission import Submission
from supervisor.store.connect import store_at
from supervisor.store.interface import SessionRow, Store
from supervisor.store.sqlite import SqliteStore

__all__ = ["Change", "Line", "Tested", "backtest", "changes", "opened", "summed_up"]

_SQLITE = b"SQLite format 3\0"
_ALL = 1_000_000_000
"""Sessions of a store that are looked at."""

Place = tuple[str, int]
"""A session and an entry of it."""


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """One session as a policy would have had it."""

    session_id: str
    entries: int
    decisions: list[Decision]
    cleared: int
    """Failures that went away by themselves, after an action that was not taken."""
    ended_at: int | None = None
    """The entry at which the policy would have ended it."""

    @property
    def done(self) -> list[Decision]:
        """The decisions that would have led to an action."""
        return [one for one in self.decisions if one.choice in (Choice.ACT, Choice.OBSERVE)]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """How often a rule would have come to an action, and where first."""

    rule: str
    action: str
    choice: str
    times: int
    sessions: int
    first: Place


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Verdicts that two policies answer differently."""

    before: str
    after: str
    times: int
    first: Place


@asynccontextmanager
async def opened(sources: Sequence[str]) -> AsyncIterator[Store]:
    """The sessions of a store (an SQLite file, an address of a database), or of the
    transcript files at and below these paths.

    Raises `TranscriptError` where there are none, and `SupervisorError` for a store among
    several sources.
    """
    stores = [source for source in sources if _is_store(source)]
    if stores and len(sources) > 1:
        raise SupervisorError(f"{stores[0]} is a store: name it alone")
    if stores:
        async with store_at(stores[0]) as kept:
            yield kept
        return
    async with SqliteStore() as store:
        async for _ in scan([Path(source) for source in sources], store, _nothing()):
            pass  # it is in the store now
        yield store


def _is_store(source: str) -> bool:
    if "://" in source:
        return True
    path = Path(source)
    if not path.exists():
        raise TranscriptError(f"there is no {source}")
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _nothing() -> Mapping[str, DetectorConfig]:
    """No detector: the transcripts are judged when the policy is tried."""
    return {name: kind.Config(enabled=False) for name, kind in registry.detectors().items()}


async def backtest(policy: Policy, store: Store) -> AsyncIterator[Tested]:
    """Try a policy on every session of a store, the newest first."""
    for row in await store.sessions(_ALL):
        yield await _tried(policy, store, row)


async def _tried(policy: Policy, store: Store, row: SessionRow) -> Tested:
    asked = Submission.of(row)
    labels = asked.labels if asked is not None else {}
    rehearsal = Rehearsal(row.session_id, policy, labels=labels)
    async for stored in store.entries(row.session_id):
        rehearsal.take(stored)
    rehearsal.finish()
    end = rehearsal.ended_by
    return Tested(
        session_id=row.session_id,
        entries=rehearsal.entries,
        decisions=rehearsal.decisions,
        cleared=sum(one.status is OutcomeStatus.CLEARED for one in rehearsal.outcomes),
        ended_at=end.seq if end is not None else None,
    )


def summed_up(tested: Iterable[Tested]) -> list[Line]:
    """What would have been done, the most frequent first."""
    found: dict[tuple[str, str, str], list[Place]] = {}
    for one in tested:
        for decision in one.done:
            key = (decision.rule or "limits", decision.action or "", decision.choice)
            found.setdefault(key, []).append((one.session_id, decision.seq))
    lines = [
        Line(
            rule=rule,
            action=action,
            choice=choice,
            times=len(places),
            sessions=len({session for session, _ in places}),
            first=places[0],
        )
        for (rule, action, choice), places in found.items()
    ]
    return sorted(lines, key=lambda line: (-line.times, line.rule, line.action))


def changes(before: Sequence[Tested], after: Sequence[Tested]) -> list[Change]:
    """The verdicts that are answered differently, the most frequent change first."""
    old = {one.session_id: _answers(one) for one in before}
    counted: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], Place] = {}
    for one in after:
        was, now = old.get(one.session_id, {}), _answers(one)
        for verdict in dict.fromkeys([*was, *now]):
            change = was.get(verdict, "no verdict"), now.get(verdict, "no verdict")
            if change[0] != change[1]:
                counted[change] += 1
                first.setdefault(change, (one.session_id, int(verdict.split("/")[0])))
    return [
        Change(before=change[0], after=change[1], times=times, first=first[change])
        for change, times in counted.most_common()
    ]


def _answers(tested: Tested) -> dict[str, str]:
    """What is done about each verdict, in a word or two."""
    return {
        one.verdict.id: one.action if one.choice is Choice.ACT and one.action else _not_done(one)
        for one in tested.decisions
    }


def _not_done(decision: Decision) -> str:
    return f"{decision.choice} {decision.action or ''}".strip()
